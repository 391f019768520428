# The kernel bodies of this library, for it and for builds of nothing but kernels (tests/kernels).
function(chimera_hdc_bodies library)
  set(body ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/hyper_body.cc)
  chimera_isa_body(${library} ${body})
  # AVX-512 with a population count, which the level does not promise.
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    set(object chimera_${library}_hyper_body_vpopcnt)
    add_library(${object} OBJECT ${body})
    target_include_directories(${object} PRIVATE ${CMAKE_SOURCE_DIR}/libs)
    target_compile_definitions(${object} PRIVATE CHIMERA_ISA=vpopcnt)
    target_compile_options(${object} PRIVATE ${CHIMERA_BODY_OPTIMISATION} -march=x86-64-v4 -mavx512vpopcntdq
                           -mprefer-vector-width=512)
    target_sources(chimera_${library} PRIVATE $<TARGET_OBJECTS:${object}>)
  endif()
endfunction()
