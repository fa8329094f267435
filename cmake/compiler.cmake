# Flags that every target of ours is built with; generated code is exempt from the warnings.
find_program(NARTHEX_CCACHE ccache)
if(NARTHEX_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${NARTHEX_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${NARTHEX_CCACHE})
endif()

set(NARTHEX_WARNINGS -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wundef -Wpointer-arith -Wcast-qual
    -Wimplicit-fallthrough -Wconversion -Werror)
set(NARTHEX_C_WARNINGS -Wstrict-prototypes -Wmissing-prototypes)

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-fno-strict-aliasing -fno-omit-frame-pointer -fstack-protector-strong)
# PromQL promises the same last bit as Prometheus: no fused multiply-add behind the program's back.
add_compile_options(-ffp-contract=off)

if(NARTHEX_SANITIZE)
  add_compile_options(-fsanitize=${NARTHEX_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${NARTHEX_SANITIZE})
endif()
if(NARTHEX_DCHECK)
  add_compile_definitions(NX_DCHECK_ENABLED=1)
else()
  add_compile_definitions(NX_DCHECK_ENABLED=0)
endif()
if(NARTHEX_LTO)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()

function(nx_compile_options target)
  target_compile_options(${target} PRIVATE ${NARTHEX_WARNINGS}
                         $<$<COMPILE_LANGUAGE:C>:${NARTHEX_C_WARNINGS}>)
  if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE -Wno-sign-conversion -Wthread-safety)
  else()
    target_compile_options(${target} PRIVATE -Wno-sign-conversion)
  endif()
endfunction()
