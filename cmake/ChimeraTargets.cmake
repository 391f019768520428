# chimera_library(name SRCS ... [DEPS chimera libraries] [LINK other targets])
#   A static library chimera_<name>; its headers are included as "<name>/header.h".
# chimera_test(name SRCS ... [DEPS ...] [LINK ...] [LABEL unit|golden|e2e|long])
#   One GoogleTest binary; every TEST in it becomes a CTest case with a 60 s limit. Those labelled
#   long may take 20 minutes and run in ./test.sh --full only. Target unit_tests builds those labelled
#   unit.
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
  if(ARG_LABEL STREQUAL "unit")
    if(NOT TARGET unit_tests)
      add_custom_target(unit_tests)
    endif()
    add_dependencies(unit_tests ${name})
  endif()
  gtest_discover_tests(${name} PROPERTIES TIMEOUT ${limit} LABELS ${ARG_LABEL} DISCOVERY_TIMEOUT 60
    DISCOVERY_MODE PRE_TEST)
endfunction()

# Sanitizers turn unrolled kernels into so many checks that -O3 takes minutes a body and -O1 seconds.
set(CHIMERA_BODY_OPTIMISATION -O3)
if(CHIMERA_SANITIZE)
  set(CHIMERA_BODY_OPTIMISATION -O1)
endif()

# chimera_isa_body(library body.cc [DOT])
#   Adds body.cc to chimera_<library> once per instruction set, as namespace CHIMERA_ISA: baseline, and
#   avx2 and avx512 on x86-64. DOT adds the levels that have nothing but an int8 dot product of their
#   own: avxvnni (VEX form) and avxvnni_evex (the same code for machines with AVX-512 VNNI), or neondot
#   on aarch64. Bodies use no templates or inline functions with external linkage: one copy compiled
#   for AVX-512 must never be linked into code that runs elsewhere.
function(chimera_isa_body library body)
  cmake_parse_arguments(ARG "DOT" "" "" ${ARGN})
  get_filename_component(stem ${body} NAME_WE)
  set(isas baseline)
  set(flags_avx2 -mavx2 -mfma -mf16c)
  set(flags_avx512 -march=x86-64-v4 -mavx512vnni -mprefer-vector-width=512)
  set(flags_avxvnni ${flags_avx2} -mavxvnni)
  set(flags_avxvnni_evex ${flags_avx2} -mavx512vl -mavx512vnni -mprefer-vector-width=256)
  set(flags_neondot -march=armv8.2-a+dotprod)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    list(APPEND isas avx2 avx512)
    if(ARG_DOT)
      list(APPEND isas avxvnni avxvnni_evex)
    endif()
  elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64" AND ARG_DOT)
    list(APPEND isas neondot)
  endif()
  foreach(isa ${isas})
    set(object chimera_${library}_${stem}_${isa})
    add_library(${object} OBJECT ${body})
    target_include_directories(${object} PRIVATE ${CMAKE_SOURCE_DIR}/libs)
    target_compile_definitions(${object} PRIVATE CHIMERA_ISA=${isa} CHIMERA_ISA_${isa})
    target_compile_options(${object} PRIVATE ${CHIMERA_BODY_OPTIMISATION} ${flags_${isa}})
    target_sources(chimera_${library} PRIVATE $<TARGET_OBJECTS:${object}>)
  endforeach()
endfunction()
