# The instruction-set levels and their compiler flags, for the core and for environments that are built out of its tree.

set(METARL_ISA_FLAGS_baseline "")
set(METARL_ISA_FLAGS_avx2 -mavx2 -mbmi -mbmi2 -mlzcnt)
set(METARL_ISA_FLAGS_avx512 -mavx2 -mbmi -mbmi2 -mlzcnt -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd
  -mprefer-vector-width=512)

# metarl_isa_levels(<variable>): the levels to compile for, lowest first. METARL_BASELINE_ONLY leaves it at the lowest.
function(metarl_isa_levels variable)
  set(levels baseline)
  if(NOT METARL_BASELINE_ONLY AND NOT MSVC AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    list(APPEND levels avx2 avx512)
  endif()
  set(${variable} ${levels} PARENT_SCOPE)
endfunction()
