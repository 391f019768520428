# Language level, warnings, linker, compiler cache and sanitizers: one place for all of them.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")

find_program(CHIMERA_CCACHE ccache)
if(CHIMERA_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CHIMERA_CCACHE})
endif()
find_program(CHIMERA_MOLD mold)
if(CHIMERA_MOLD AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=mold)
endif()

# No contraction: a*b+c is two roundings on every machine, and one where Fma says so, so that one seed
# gives one text (DESIGN D2).
add_compile_options(-Wall -Wextra -Werror -Wno-missing-field-initializers -Wno-psabi -ffp-contract=off
                    -fno-math-errno -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(CHIMERA_SANITIZE)
  # With checks in every load -O2 and full debug information take more than twice as long to compile;
  # -g1 has the lines that reports name.
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG")
  add_compile_options(-fsanitize=${CHIMERA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${CHIMERA_SANITIZE})
endif()
