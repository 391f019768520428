# chimera_library(name SRCS ... [DEPS chimera libraries] [LINK other targets])
#   A static library chimera_<name>; its headers are included as "<name>/header.h".
# chimera_test(name SRCS ... [DEPS ...] [LINK ...] [LABEL unit|golden|e2e|long])
#   One GoogleTest binary; every TEST in it becomes a CTest case with a 60 s limit. Those labelled
#   long may take 20 minutes and run in ./test.sh --full only.
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
  set(limit 60)
  if(ARG_LABEL STREQUAL "long")
    set(limit 1200)
  endif()
  add_executable(${name} ${ARG_SRCS})
  list(TRANSFORM ARG_DEPS PREPEND chimera_)
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ${ARG_LINK} GTest::gmock GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    CHIMERA_SOURCE_DIR="${CMAKE_SOURCE_DIR}" CHIMERA_DATA_DIR="${CHIMERA_DATA_DIR}"
    CHIMERA_BINARY_DIR="${CMAKE_BINARY_DIR}")
  gtest_discover_tests(${name} PROPERTIES TIMEOUT ${limit} LABELS ${ARG_LABEL} DISCOVERY_TIMEOUT 60
    DISCOVERY_MODE PRE_TEST)
endfunction()

# chimera_isa_body(library body.cc [EXTRA_AVX512 flags])
#   Adds body.cc to the library once per instruction set, as namespace CHIMERA_ISA (baseline, avx2,
#   avx512). Bodies use no templates or inline functions with external linkage: one copy compiled for
#   AVX-512 must never be linked into code that runs elsewhere.
function(chimera_isa_body library body)
  cmake_parse_arguments(ARG "" "" "EXTRA_AVX512" ${ARGN})
  get_filename_component(stem ${body} NAME_WE)
  set(isas baseline)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    list(APPEND isas avx2 avx512)
  endif()
  foreach(isa ${isas})
    set(object chimera_${library}_${stem}_${isa})
    add_library(${object} OBJECT ${body})
    target_include_directories(${object} PRIVATE ${CMAKE_SOURCE_DIR}/libs)
    target_compile_definitions(${object} PRIVATE CHIMERA_ISA=${isa} CHIMERA_ISA_${isa})
    target_compile_options(${object} PRIVATE -O3)
    if(isa STREQUAL "avx2")
      target_compile_options(${object} PRIVATE -mavx2 -mf16c)
    elseif(isa STREQUAL "avx512")
      target_compile_options(${object} PRIVATE -march=x86-64-v4 -mavx512vnni -mprefer-vector-width=512
                             ${ARG_EXTRA_AVX512})
    endif()
    target_sources(chimera_${library} PRIVATE $<TARGET_OBJECTS:${object}>)
  endforeach()
endfunction()
