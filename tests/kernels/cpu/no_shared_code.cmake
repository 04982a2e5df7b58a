# SPDX-License-Identifier: Apache-2.0
# Objects compiled for an instruction set must not define weak symbols: the linker keeps one copy of an inline function
# for the whole program, and if it were theirs the program would die on an older processor.
# cmake -DNM=... -DOBJECTS="a;b" -P no_shared_code.cmake
set(checked 0)
foreach(object IN LISTS OBJECTS)
  if(NOT object MATCHES "_(avx2|avx512|avx512_bf16)\\.cpp")
    continue()
  endif()
  execute_process(COMMAND "${NM}" --defined-only "${object}" OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} cannot read ${object}")
  endif()
  string(REGEX MATCHALL "[0-9a-f]+ [WVwvu] [^\n]+" shared "${symbols}")
  if(shared)
    string(REPLACE ";" "\n" shared "${shared}")
    message(FATAL_ERROR "${object} defines symbols that the whole program may get:\n${shared}")
  endif()
  math(EXPR checked "${checked} + 1")
endforeach()
if(checked LESS 4)
  message(FATAL_ERROR "found only ${checked} objects of instruction sets")
endif()
message(STATUS "${checked} objects share no code")
