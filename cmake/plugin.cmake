# The plugin: one shared library that exports GetPjrtApi and, on Linux, the BLAS functions of MLX
# that it replaces. In a wheel it lies in jax_plugins/mps and finds MLX beside it in mlx/lib.
set(exports GetPjrtApi)
if(NOT APPLE)
  list(APPEND exports cblas_sgemm cblas_dgemm cblas_cgemm)
endif()

# The build folder holds an importable copy: PYTHONPATH=<build>/site runs it without installing.
set(site "${CMAKE_BINARY_DIR}/site/jax_plugins/mps")
file(GLOB modules CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/python/jax_plugins/mps/*.py")
file(MAKE_DIRECTORY "${site}")
foreach(module IN LISTS modules)
  get_filename_component(name "${module}" NAME)
  file(CREATE_LINK "${module}" "${site}/${name}" SYMBOLIC)
endforeach()

add_library(jaxmps_entry OBJECT "${CMAKE_SOURCE_DIR}/src/plugin.cc")
target_link_libraries(jaxmps_entry PUBLIC jaxmps_options mlx)
add_library(jax_mps_plugin SHARED)
link_folders(jax_mps_plugin ${core_folders} ${device_folders} entry)
target_link_libraries(jax_mps_plugin PRIVATE jaxmps_options mlx)
set_target_properties(jax_mps_plugin PROPERTIES
  LINKER_LANGUAGE CXX OUTPUT_NAME pjrt_plugin_mps PREFIX "" SUFFIX "${CMAKE_SHARED_LIBRARY_SUFFIX}"
  LIBRARY_OUTPUT_DIRECTORY "${site}")

if(APPLE)
  # Everything is compiled with hidden visibility; the list also hides what headers make visible.
  list(TRANSFORM exports PREPEND "_" OUTPUT_VARIABLE symbols)
  list(JOIN symbols "\n" symbols)
  set(list_file "${CMAKE_BINARY_DIR}/exported_symbols.txt")
  file(WRITE "${list_file}" "${symbols}\n")
  if(CMAKE_CROSSCOMPILING)
    include(cmake/cross_macos.cmake)
  else()
    target_link_options(jax_mps_plugin PRIVATE "LINKER:-exported_symbols_list,${list_file}")
  endif()
  set(origin "@loader_path")
else()
  list(JOIN exports "; " symbols)
  set(list_file "${CMAKE_BINARY_DIR}/exported_symbols.map")
  file(WRITE "${list_file}" "{ global: ${symbols}; local: *; };\n")
  target_link_options(jax_mps_plugin PRIVATE "LINKER:--version-script=${list_file}")
  # Sanitizers report with symbols, and clang leaves their functions to the program that loads us.
  if(NOT JAXMPS_SANITIZE)
    target_link_options(jax_mps_plugin PRIVATE "LINKER:-z,defs" $<$<CONFIG:Release>:-s>)
  endif()
  set(origin "$ORIGIN")
endif()
set_target_properties(jax_mps_plugin PROPERTIES
  LINK_DEPENDS "${list_file}" INSTALL_RPATH "${origin}/../../mlx/lib")

file(WRITE "${site}/_build_info.py"
  "\"\"\"Written by the build.\"\"\"\n\nVERSION = \"${PROJECT_VERSION}\"\n"
  "MLX_VERSION = \"${JAXMPS_MLX_VERSION}\"\n"
  "LIBRARY = \"pjrt_plugin_mps${CMAKE_SHARED_LIBRARY_SUFFIX}\"\n")
install(TARGETS jax_mps_plugin LIBRARY DESTINATION jax_plugins/mps)
install(FILES "${site}/_build_info.py" DESTINATION jax_plugins/mps)
