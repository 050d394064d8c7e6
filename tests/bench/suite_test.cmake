# The suite with a second to spend: the machine's limits, the first ops, and names of what was left out; all of it in the table.
file(REMOVE ${LINES})
execute_process(COMMAND ${BENCH} suite --device cpu --budget 1 --runs 1 --output ${LINES} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${BENCH} table ${LINES} OUTPUT_VARIABLE page COMMAND_ERROR_IS_FATAL ANY)
foreach(part "Device: cpu" "\\| rms_norm fwd \\| bf16 \\| 4096x1024 \\|" "\\| rms_norm bwd \\|" "train_step, decode.*\\| the budget was spent \\|")
  if(NOT page MATCHES "${part}")
    message(FATAL_ERROR "the table lacks '${part}':\n${page}")
  endif()
endforeach()
