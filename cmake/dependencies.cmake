# Third-party libraries, all from the distribution (scripts/packages.txt names the packages).
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

foreach(pair libevent:libevent_core event_pthreads:libevent_pthreads protobuf_c:libprotobuf-c lmdb:lmdb
             re2:re2 roaring:roaring xxhash:libxxhash zstd:libzstd zlib:zlib yaml:yaml-0.1 snappy:snappy)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 name)
  list(GET pair 1 module)
  if(name STREQUAL "snappy" OR name STREQUAL "roaring" OR name STREQUAL "lmdb")
    # Not every distribution ships a .pc file for these; the library and one header are all there is.
    find_library(NX_${name}_LIBRARY NAMES ${name} REQUIRED)
    add_library(nx_dep_${name} INTERFACE)
    target_link_libraries(nx_dep_${name} INTERFACE ${NX_${name}_LIBRARY})
  else()
    pkg_check_modules(NX_${name} REQUIRED IMPORTED_TARGET ${module})
    add_library(nx_dep_${name} INTERFACE)
    target_link_libraries(nx_dep_${name} INTERFACE PkgConfig::NX_${name})
  endif()
endforeach()

find_program(NX_PROTOC_C protoc-c REQUIRED)

# protobuf-c code from proto/*.proto, in <build>/proto.
file(GLOB nx_protos CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/proto/*.proto)
set(nx_proto_dir ${CMAKE_BINARY_DIR}/proto)
file(MAKE_DIRECTORY ${nx_proto_dir})
set(nx_proto_sources)
foreach(proto ${nx_protos})
  get_filename_component(stem ${proto} NAME_WE)
  add_custom_command(
    OUTPUT ${nx_proto_dir}/${stem}.pb-c.c ${nx_proto_dir}/${stem}.pb-c.h
    COMMAND ${NX_PROTOC_C} --c_out=${nx_proto_dir} --proto_path=${CMAKE_SOURCE_DIR}/proto ${proto}
    DEPENDS ${proto} VERBATIM)
  list(APPEND nx_proto_sources ${nx_proto_dir}/${stem}.pb-c.c)
endforeach()
add_library(nx_proto STATIC ${nx_proto_sources})
target_include_directories(nx_proto SYSTEM PUBLIC ${nx_proto_dir})
target_link_libraries(nx_proto PUBLIC nx_dep_protobuf_c)
