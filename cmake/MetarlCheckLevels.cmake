# Fails if an object of a higher instruction-set level has a function that the linker may merge with that of another
# level: code for AVX-512 would then run, and die, on a CPU without it. -DNM=... -DOBJECTS=a.o|b.o

string(REPLACE "|" ";" objects "${OBJECTS}")
foreach(object IN LISTS objects)
  execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* W [^\n]*" merged "${symbols}")
  if(merged)
    list(GET merged 0 first)
    string(REGEX REPLACE "^.* W " "" name "${first}")
    message(FATAL_ERROR "${name} is compiled for several instruction-set levels and would be shared between them; "
      "mark it METARL_HD, or put it into an unnamed namespace")
  endif()
endforeach()
