# Cross-building for macOS with zig: its linker knows no list of exported symbols (hidden visibility
# has to do), and it would link a C++ runtime of its own into the plugin. See libcxx_stub.py.
# Python must have the package lief.
find_package(Python REQUIRED COMPONENTS Interpreter)
set(stub "${CMAKE_BINARY_DIR}/libc++.tbd")
set(objects)
foreach(name IN LISTS core_folders device_folders ITEMS entry)
  if(TARGET jaxmps_${name})
    # A precompiled header counts as an object.
    list(APPEND objects $<FILTER:$<TARGET_OBJECTS:jaxmps_${name}>,INCLUDE,[.]o$>)
  endif()
endforeach()
add_custom_command(OUTPUT "${stub}"
  COMMAND "${Python_EXECUTABLE}" "${CMAKE_SOURCE_DIR}/cmake/libcxx_stub.py" "${stub}" ${objects}
  DEPENDS ${objects} "${CMAKE_SOURCE_DIR}/cmake/libcxx_stub.py" COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(libcxx_stub DEPENDS "${stub}")
add_dependencies(jax_mps_plugin libcxx_stub)
target_link_options(jax_mps_plugin PRIVATE -nostdlib++)
target_link_libraries(jax_mps_plugin PRIVATE "${stub}")
# No tool of this machine can change the run path when the library is installed.
set_target_properties(jax_mps_plugin PROPERTIES BUILD_WITH_INSTALL_RPATH ON)
