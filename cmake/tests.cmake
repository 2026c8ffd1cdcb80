# The C++ tests. GoogleTest is the installed one, or the one in JAXMPS_GTEST_ROOT (a folder that
# holds include/gtest and somewhere below it libgtest.a), as scripts/test prepares it.
set(JAXMPS_GTEST_ROOT "" CACHE PATH "Where GoogleTest is, if it is not installed")

function(add_cpp_tests target)
  add_executable(${target} ${sources})
  target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/tests/cpp")
  target_compile_definitions(${target} PRIVATE JAXMPS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE jaxmps_options gtest_main_found)
  if(JAXMPS_SANITIZE)  # more time would go into compiling them than into running them
    target_compile_options(${target} PRIVATE -O0)
  else()
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
  link_folders(${target} ${ARGN})
  if(JAXMPS_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
  endif()
endfunction()

# These run longer: what products, transforms and all other ops are compared with.
file(GLOB compared CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/cpp/support/*.cc"
  "${CMAKE_SOURCE_DIR}/tests/cpp/kernels/cpu_*_test.cc")
list(FILTER compared INCLUDE REGEX "/(graph|random_fusion|cpu_conv_test|cpu_fft_test|cpu_gemm_test)[.]cc$")
if(JAXMPS_SANITIZE)
  set_property(SOURCE ${compared} APPEND PROPERTY COMPILE_OPTIONS -O1)
endif()
# It defines functions of the C library.
set_property(SOURCE "${CMAKE_SOURCE_DIR}/tests/cpp/pjrt/faults.cc" PROPERTY SKIP_UNITY_BUILD_INCLUSION ON)

if(JAXMPS_TESTS)
  if(JAXMPS_GTEST_ROOT)
    file(GLOB_RECURSE archives "${JAXMPS_GTEST_ROOT}/*/libgtest.a" "${JAXMPS_GTEST_ROOT}/*/libgtest_main.a")
    list(SORT archives ORDER DESCENDING)
    add_library(gtest_main_found INTERFACE)
    target_include_directories(gtest_main_found SYSTEM INTERFACE "${JAXMPS_GTEST_ROOT}/include")
    target_link_libraries(gtest_main_found INTERFACE ${archives} Threads::Threads)
  else()
    find_package(GTest REQUIRED)
    add_library(gtest_main_found INTERFACE)
    target_link_libraries(gtest_main_found INTERFACE GTest::gtest_main)
  endif()

  file(GLOB_RECURSE all_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/cpp/*.cc")
  list(JOIN core_folders "|" core_pattern)
  set(sources ${all_sources})
  list(FILTER sources INCLUDE REGEX "/tests/cpp/(${core_pattern}|support)/")
  if(sources)
    add_cpp_tests(jaxmps_tests_core ${core_folders})
    add_test(NAME core COMMAND jaxmps_tests_core)
  endif()
  set(sources ${all_sources})
  list(FILTER sources EXCLUDE REGEX "/tests/cpp/(${core_pattern})/")
  if(sources AND NOT JAXMPS_CORE_ONLY)
    # A Metal GPU on the CPU, and a plugin that has it: PYTHONPATH=<build>/simulated
    # JAX_MPS_DEVICE=simulated. It is no part of a wheel.
    file(GLOB simulated CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/simulated/*.cc")
    add_library(jaxmps_simulated OBJECT ${simulated})
    target_link_libraries(jaxmps_simulated PUBLIC jaxmps_options mlx)
    target_include_directories(jaxmps_simulated PUBLIC "${CMAKE_SOURCE_DIR}/tests")
    if(NOT APPLE)
      add_plugin(jax_mps_plugin_simulated "${CMAKE_BINARY_DIR}/simulated/jax_plugins/mps" simulated)
    endif()

    add_cpp_tests(jaxmps_tests_device ${core_folders} ${device_folders} simulated)
    add_test(NAME device COMMAND jaxmps_tests_device)
    target_link_libraries(jaxmps_tests_device PRIVATE mlx)

    # What the host takes for a program on a GPU; by hand.
    add_executable(jaxmps_host_time EXCLUDE_FROM_ALL "${CMAKE_SOURCE_DIR}/benchmarks/host_time.cc")
    target_include_directories(jaxmps_host_time PRIVATE "${CMAKE_SOURCE_DIR}/tests/cpp")
    target_compile_definitions(jaxmps_host_time PRIVATE JAXMPS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    target_link_libraries(jaxmps_host_time PRIVATE jaxmps_options)
    link_folders(jaxmps_host_time ${core_folders} ${device_folders})
    target_link_libraries(jaxmps_host_time PRIVATE mlx)

    # Under TSan: what has threads is compiled once more, everything else is the build's own. The
    # sanitized objects come first, so that inline functions are theirs.
    set(sources)
    foreach(name IN ITEMS base exec pjrt)
      file(GLOB_RECURSE more CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${name}/*.cc")
      list(APPEND sources ${more})
    endforeach()
    list(APPEND sources "${CMAKE_SOURCE_DIR}/src/kernels/cpu/threads.cc"
      "${CMAKE_SOURCE_DIR}/tests/cpp/exec/queue_test.cc" "${CMAKE_SOURCE_DIR}/tests/cpp/kernels/cpu_threads_test.cc"
      "${CMAKE_SOURCE_DIR}/tests/cpp/pjrt/event_test.cc" "${CMAKE_SOURCE_DIR}/tests/cpp/pjrt/stress_test.cc")
    add_cpp_tests(jaxmps_tests_threads)
    foreach(name IN ITEMS ir bytecode scalar fusion passes kernels loops ops)
      target_sources(jaxmps_tests_threads PRIVATE
        "$<FILTER:$<TARGET_OBJECTS:jaxmps_${name}>,EXCLUDE,/cpu/threads[.]cc>")
    endforeach()
    target_link_libraries(jaxmps_tests_threads PRIVATE mlx)
    target_compile_options(jaxmps_tests_threads PRIVATE -O1 -g1 -UNDEBUG -fsanitize=thread)
    target_link_options(jaxmps_tests_threads PRIVATE -fsanitize=thread)
    # CMake links the parts of a unity build behind other objects.
    set_target_properties(jaxmps_tests_threads PROPERTIES EXCLUDE_FROM_ALL ON UNITY_BUILD OFF)
  endif()
endif()

# One target for each tests/fuzz/fuzz_*.cc. libFuzzer comes with clang; another compiler gets a small
# driver that replays the corpus and then mutates it at random for -max_total_time seconds. The
# programs find MLX in its wheel, or in copies of its folders mlx and mlx_cpu.libs beside them.
if(JAXMPS_FUZZ)
  set(fuzz_targets fuzz_reader)
  if(NOT JAXMPS_CORE_ONLY)
    list(APPEND fuzz_targets fuzz_program)
  endif()
  foreach(target IN LISTS fuzz_targets)
    add_executable(${target} "${CMAKE_SOURCE_DIR}/tests/fuzz/${target}.cc")
    target_link_libraries(${target} PRIVATE jaxmps_options)
    link_folders(${target} ${core_folders})
    if(target STREQUAL "fuzz_program")
      link_folders(${target} ${device_folders})
      target_link_libraries(${target} PRIVATE mlx)
      set_target_properties(${target} PROPERTIES BUILD_RPATH "$ORIGIN/mlx/lib")
    endif()
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
      target_sources(${target} PRIVATE "${CMAKE_SOURCE_DIR}/tests/fuzz/standalone/driver.cc")
    endif()
  endforeach()
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # Comparisons are looked at where bytes are read, and no counters kept in loops over elements: they
    # take half of the time and lead nowhere.
    set(name "$<TARGET_PROPERTY:NAME>")
    target_compile_options(jaxmps_options INTERFACE
      $<$<NOT:$<STREQUAL:${name},jaxmps_loops>>:-fsanitize=fuzzer-no-link>
      $<$<NOT:$<STREQUAL:${name},jaxmps_bytecode>>:-fno-sanitize-coverage=trace-cmp>)
  endif()
endif()
