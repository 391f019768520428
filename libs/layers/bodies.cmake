# The kernel bodies of this library, for it and for builds of nothing but kernels (tests/kernels).
function(chimera_layers_bodies library)
  # Serving forms: the same bits on every instruction set.
  foreach(body rms_norm swiglu short_conv gated_delta efla mlstm moe loop low_rank rope span_knot
          titans)
    chimera_isa_body(${library} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${body}_body.cc)
  endforeach()
  # Training forms: contraction allowed, equal for any thread count only.
  foreach(body gated_delta_train mlstm_train titans_memory_train titans_attend_train
          titans_decay_train)
    chimera_isa_body(${library} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${body}_body.cc)
    foreach(isa baseline avx2 avx512)
      set(object chimera_${library}_${body}_body_${isa})
      if(TARGET ${object})
        target_compile_options(${object} PRIVATE -ffp-contract=fast)
      endif()
    endforeach()
  endforeach()
endfunction()
