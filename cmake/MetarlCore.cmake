# The target metarl::core, compiled from the sources that the package holds. Included by metarl_coreConfig.cmake.

if(TARGET metarl::core)
  return()
endif()
find_package(Threads REQUIRED)
include(${CMAKE_CURRENT_LIST_DIR}/MetarlSources.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/MetarlTargets.cmake)

get_filename_component(METARL_SOURCE_DIR "${CMAKE_CURRENT_LIST_DIR}/../cpp" ABSOLUTE)
list(TRANSFORM METARL_CORE_SOURCES PREPEND ${METARL_SOURCE_DIR}/ OUTPUT_VARIABLE _metarl_core_sources)
list(TRANSFORM METARL_KERNEL_SOURCES PREPEND ${METARL_SOURCE_DIR}/ OUTPUT_VARIABLE _metarl_kernel_sources)

add_library(metarl_core_static STATIC EXCLUDE_FROM_ALL ${_metarl_core_sources})
set_target_properties(metarl_core_static PROPERTIES OUTPUT_NAME metarl_core CXX_EXTENSIONS OFF
  POSITION_INDEPENDENT_CODE ON)
metarl_configure_target(metarl_core_static)
target_link_libraries(metarl_core_static PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
metarl_set_kernel_options(${METARL_SOURCE_DIR})
metarl_add_isa_kernels(metarl_core_static ${_metarl_kernel_sources})
add_library(metarl::core ALIAS metarl_core_static)
