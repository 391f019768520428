# chimera_library(name SRCS ... [DEPS chimera libraries] [LINK other targets])
#   A static library chimera_<name>; its headers are included as "<name>/header.h".
# chimera_test(name SRCS ... [DEPS ...] [LINK ...] [LABEL unit|golden|e2e])
#   One GoogleTest binary; every TEST in it becomes a CTest case with a 60 s limit.
# chimera_isa_sources(name BODY file ISAS baseline avx2 avx512)
#   Compiles one kernel body once per instruction set; see docs/numerics.md.
include(GoogleTest)

function(chimera_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;LINK" ${ARGN})
  add_library(chimera_${name} STATIC ${ARG_SRCS})
  target_include_directories(chimera_${name} PUBLIC ${CMAKE_SOURCE_DIR}/libs)
  list(TRANSFORM ARG_DEPS PREPEND chimera_)
  target_link_libraries(chimera_${name} PUBLIC ${ARG_DEPS} ${ARG_LINK})
endfunction()

function(chimera_test name)
  if(NOT CHIMERA_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "LABEL" "SRCS;DEPS;LINK" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${name} ${ARG_SRCS})
  list(TRANSFORM ARG_DEPS PREPEND chimera_)
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ${ARG_LINK} GTest::gmock GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    CHIMERA_SOURCE_DIR="${CMAKE_SOURCE_DIR}" CHIMERA_DATA_DIR="${CHIMERA_DATA_DIR}"
    CHIMERA_BINARY_DIR="${CMAKE_BINARY_DIR}")
  gtest_discover_tests(${name} PROPERTIES TIMEOUT 60 LABELS ${ARG_LABEL} DISCOVERY_TIMEOUT 60
    DISCOVERY_MODE PRE_TEST)
endfunction()
