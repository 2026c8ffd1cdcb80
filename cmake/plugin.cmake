# The plugin: one shared library that exports GetPjrtApi. In a wheel it lies in jax_plugins/mps and
# finds MLX beside it in mlx/lib.
if(APPLE)
  # Everything is compiled with hidden visibility; the list also hides what headers make visible.
  set(exports_file "${CMAKE_BINARY_DIR}/exported_symbols.txt")
  file(WRITE "${exports_file}" "_GetPjrtApi\n")
  set(origin "@loader_path")
else()
  set(exports_file "${CMAKE_BINARY_DIR}/exported_symbols.map")
  file(WRITE "${exports_file}" "{ global: GetPjrtApi; local: *; };\n")
  set(origin "$ORIGIN")
endif()

add_library(jaxmps_entry OBJECT "${CMAKE_SOURCE_DIR}/src/plugin.cc")
target_link_libraries(jaxmps_entry PUBLIC jaxmps_options mlx)

# A plugin in `site`, a folder of the build that can be imported, with more object libraries.
function(add_plugin target site)
  file(GLOB modules CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/python/jax_plugins/mps/*.py")
  file(MAKE_DIRECTORY "${site}")
  foreach(module IN LISTS modules)
    get_filename_component(name "${module}" NAME)
    file(CREATE_LINK "${module}" "${site}/${name}" SYMBOLIC)
  endforeach()
  file(WRITE "${site}/_build_info.py"
    "\"\"\"Written by the build.\"\"\"\n\nVERSION = \"${PROJECT_VERSION}\"\n"
    "MLX_VERSION = \"${JAXMPS_MLX_VERSION}\"\n"
    "LIBRARY = \"pjrt_plugin_mps${CMAKE_SHARED_LIBRARY_SUFFIX}\"\n")

  add_library(${target} SHARED)
  link_folders(${target} ${core_folders} ${device_folders} entry ${ARGN})
  target_link_libraries(${target} PRIVATE jaxmps_options mlx)
  set_target_properties(${target} PROPERTIES
    LINKER_LANGUAGE CXX OUTPUT_NAME pjrt_plugin_mps PREFIX "" SUFFIX "${CMAKE_SHARED_LIBRARY_SUFFIX}"
    LIBRARY_OUTPUT_DIRECTORY "${site}" LINK_DEPENDS "${exports_file}"
    INSTALL_RPATH "${origin}/../../mlx/lib")
  if(APPLE)
    if(NOT CMAKE_CROSSCOMPILING)
      target_link_options(${target} PRIVATE "LINKER:-exported_symbols_list,${exports_file}")
    endif()
  else()
    target_link_options(${target} PRIVATE "LINKER:--version-script=${exports_file}")
    # Sanitizers report with symbols, and clang leaves their functions to the program that loads us.
    if(NOT JAXMPS_SANITIZE)
      target_link_options(${target} PRIVATE "LINKER:-z,defs" $<$<CONFIG:Release>:-s>)
    endif()
  endif()
endfunction()

# The build folder holds an importable copy: PYTHONPATH=<build>/site runs it without installing.
set(site "${CMAKE_BINARY_DIR}/site/jax_plugins/mps")
add_plugin(jax_mps_plugin "${site}")
if(APPLE AND CMAKE_CROSSCOMPILING)
  include(cmake/cross_macos.cmake)
endif()
install(TARGETS jax_mps_plugin LIBRARY DESTINATION jax_plugins/mps)
install(FILES "${site}/_build_info.py" DESTINATION jax_plugins/mps)
