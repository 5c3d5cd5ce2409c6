# Compiler settings shared by every target, and the per-instruction-set compilation of hot loops.

# One place for warnings, floating-point rules and sanitizers. METARL_SOURCE_DIR: the folder that holds csrc.
function(metarl_configure_target target)
  target_include_directories(${target} PUBLIC ${METARL_SOURCE_DIR}/csrc/include ${METARL_SOURCE_DIR}/csrc)
  target_compile_features(${target} PUBLIC cxx_std_20)
  if(MSVC)
    target_compile_options(${target} PRIVATE /W4 /fp:precise $<$<BOOL:${METARL_WERROR}>:/WX>)
  else()
    # No contraction: an FMA that one compiler or device fuses and another does not changes the last bit, and results
    # must be the same at every instruction-set level.
    set(level -O3)
    if(METARL_SANITIZE)
      set(level -O1)  # little is gained there by the time that -O3 takes
    endif()
    target_compile_options(${target} PRIVATE ${level} -ffp-contract=off -Wall -Wextra -Wconversion
      $<$<BOOL:${METARL_WERROR}>:-Werror>)
  endif()
  if(METARL_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${METARL_SANITIZE} -fno-omit-frame-pointer -g1
      -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${METARL_SANITIZE})
  endif()
endfunction()

# Files that see pybind11: its headers are parsed once, and its inline functions, 7 s in each file, compiled once for
# several files, whose names of the same scope must differ. METARL_UNITY=OFF: each by itself, for editors and small changes.
function(metarl_configure_bindings target)
  target_precompile_headers(${target} PRIVATE <pybind11/pybind11.h> <pybind11/numpy.h> <pybind11/stl.h>)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${METARL_UNITY} UNITY_BUILD_BATCH_SIZE 5)
  if(MSVC)
    target_compile_options(${target} PRIVATE /bigobj)
  else()
    # NumPy's flags are in two enumerations of pybind11's.
    target_compile_options(${target} PRIVATE -Wno-deprecated-enum-enum-conversion)
  endif()
endfunction()

# Of an extension module only what Python looks for is to be seen: hidden visibility does not cover templates of the C++
# library and what a static runtime brings along.
function(metarl_export_entry_alone target)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT METARL_SANITIZE)
    set(map ${METARL_SOURCE_DIR}/cmake/exported_symbols.map)
    target_link_options(${target} PRIVATE LINKER:--version-script=${map})
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${map})
  endif()
endfunction()

# metarl_add_isa_kernels(<target> file...): compiles every file once per level into <target>, with METARL_ISA_NS set to
# the level's name (baseline, avx2, avx512). Such a file may define symbols in namespace metarl::METARL_ISA_NS only and
# must not instantiate templates or inline functions with external linkage: the linker would keep one copy of those,
# perhaps the one that needs AVX-512, for every level.
function(metarl_add_isa_kernels target)
  metarl_isa_levels(levels)
  if("avx512" IN_LIST levels)
    target_compile_definitions(${target} PUBLIC METARL_HAVE_X86_LEVELS=1)
  endif()
  if(NOT ARGN)
    return()
  endif()
  # INTERFACE: an object library hands only its own objects to those who link it.
  get_target_property(type ${target} TYPE)
  set(scope PRIVATE)
  if(type STREQUAL "OBJECT_LIBRARY")
    set(scope INTERFACE)
  endif()
  foreach(level IN LISTS levels)
    add_library(${target}_${level} OBJECT ${ARGN})
    metarl_configure_target(${target}_${level})
    set_target_properties(${target}_${level} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
    target_compile_definitions(${target}_${level} PRIVATE METARL_ISA_NS=${level})
    target_compile_options(${target}_${level} PRIVATE ${METARL_ISA_FLAGS_${level}})
    target_sources(${target} ${scope} $<TARGET_OBJECTS:${target}_${level}>)
  endforeach()
endfunction()
