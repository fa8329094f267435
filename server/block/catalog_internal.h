/* catalog_internal.h - what catalog.c and catalog_check.c share. */
#pragma once

#include "narthex/base/err.h"

/* Walks every page of an LMDB file (data format 1) without LMDB: all references lie inside the file, no page is used
 * twice, none in use is listed as free. LMDB follows whatever it finds, up to a crash, so this comes first.
 * NX_E_NOT_FOUND when there is no file or an empty one. NX_E_CORRUPT, NX_E_IO, NX_E_INVALID (another format). */
NX_NODISCARD nx_code catalog_check_file(const char *path, struct nx_err *err);
