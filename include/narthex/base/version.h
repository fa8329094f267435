/* version.h - the version of this program; CMake's project version must say the same (a test holds them together). */
#pragma once

#define NARTHEX_VERSION "0.0.1"
