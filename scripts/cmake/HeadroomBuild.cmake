# SPDX-License-Identifier: Apache-2.0
# Compiler settings and the helper functions that every layer uses to declare itself.
option(HEADROOM_BUILD_TESTS "Build the tests" ON)
option(HEADROOM_CUDA "Open GPUs at run time, through the CUDA half beside LibTorch; OFF: the CPU alone" ON)
option(HEADROOM_GUI "Build the window where Qt 6 and QCustomPlot are found" ON)
set(HEADROOM_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")

# Several files of a layer in one translation unit: most of a file's time goes into LibTorch's, JSON's and Qt's headers
# and the templates they make. OFF compiles each alone, for those who change one file again and again.
option(HEADROOM_UNITY "Compile the files of a layer together" ON)
set(CMAKE_UNITY_BUILD ${HEADROOM_UNITY})
set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)

find_program(HEADROOM_CCACHE ccache)
if(HEADROOM_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${HEADROOM_CCACHE}")
endif()

# One baseline for every x86-64 machine; faster code is chosen at run time in core/kernels/cpu.
add_library(headroom_options INTERFACE)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(headroom_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=x86-64-v2>)
endif()
target_include_directories(headroom_options INTERFACE "${CMAKE_SOURCE_DIR}/core" "${CMAKE_SOURCE_DIR}")
if(HEADROOM_SANITIZE)
  target_compile_options(headroom_options INTERFACE -fsanitize=${HEADROOM_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(headroom_options INTERFACE -fsanitize=${HEADROOM_SANITIZE})
endif()

add_library(headroom_warnings INTERFACE)
target_compile_options(headroom_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wformat=2>)

# headroom_layer(NAME LINKS targets... [FOLDERS folders...]): a static library from every .cpp of the calling folder and
# of the named folders in it, known as headroom::NAME.
function(headroom_layer name)
  cmake_parse_arguments(ARG "" "" "LINKS;FOLDERS" ${ARGN})
  set(patterns "${CMAKE_CURRENT_SOURCE_DIR}/*")
  foreach(folder IN LISTS ARG_FOLDERS)
    list(APPEND patterns "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*")
  endforeach()
  list(TRANSFORM patterns APPEND ".cpp" OUTPUT_VARIABLE source_patterns)
  list(TRANSFORM patterns APPEND ".h" OUTPUT_VARIABLE header_patterns)
  file(GLOB sources CONFIGURE_DEPENDS ${source_patterns})
  file(GLOB headers CONFIGURE_DEPENDS ${header_patterns})
  set(target "headroom_${name}")
  if(sources)
    add_library(${target} STATIC ${sources} ${headers})
    target_link_libraries(${target} PUBLIC headroom_options ${ARG_LINKS} PRIVATE headroom_warnings)
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE headroom_options ${ARG_LINKS})
  endif()
  add_library(headroom::${name} ALIAS ${target})
endfunction()

# headroom_program(TARGET): a program that says so where the processor is too old for it.
function(headroom_program target)
  if(TARGET headroom_processor_check)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:headroom_processor_check>)
  endif()
endfunction()

# A program that skipped something and failed nothing counts as skipped: CTest lets a match hide a failure.
# headroom_test(NAME LINKS targets... [LABELS labels...] [TIMEOUT s]): one Qt Test program from NAME.cpp of the calling
# folder or of FOLDER (with its slash) in it.
function(headroom_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT;FOLDER" "LINKS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_FOLDER}${name}.cpp)
  set_target_properties(${name} PROPERTIES AUTOMOC ON RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(${name} PRIVATE headroom_options headroom_warnings ${ARG_LINKS} Qt6::Test)
  target_compile_definitions(${name} PRIVATE
    HEADROOM_SOURCE_DIR="${CMAKE_SOURCE_DIR}" HEADROOM_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    SKIP_REGULAR_EXPRESSION "Totals: [0-9]+ passed, 0 failed, [1-9][0-9]* skipped"
    ENVIRONMENT "QT_QPA_PLATFORM=offscreen;OMP_WAIT_POLICY=PASSIVE;ASAN_OPTIONS=detect_leaks=0")
endfunction()

# headroom_tests(FOLDERS folders... LINKS targets... [LABELS labels...] [TIMEOUT s]): a headroom_test for each
# test_*.cpp of those folders.
function(headroom_tests)
  cmake_parse_arguments(ARG "" "TIMEOUT" "FOLDERS;LINKS;LABELS" ${ARGN})
  foreach(folder IN LISTS ARG_FOLDERS)
    file(GLOB tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/test_*.cpp")
    foreach(file IN LISTS tests)
      get_filename_component(name "${file}" NAME_WE)
      headroom_test(${name} FOLDER "${folder}/" LINKS ${ARG_LINKS} LABELS ${ARG_LABELS} TIMEOUT ${ARG_TIMEOUT})
    endforeach()
  endforeach()
endfunction()
