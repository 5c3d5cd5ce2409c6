# The core's sources, for the build of the extension and for C++ projects that compile the core from an installed package.

set(METARL_CORE_SOURCES
  csrc/core/aligned_memory.cpp
  csrc/core/async_env.cpp
  csrc/core/batch_env.cpp
  csrc/core/batch_env_arrays.cpp
  csrc/core/batch_env_rollout.cpp
  csrc/core/batch_env_state.cpp
  csrc/core/checkpoint_io.cpp
  csrc/core/checkpoint_reader.cpp
  csrc/core/checkpoint_value.cpp
  csrc/core/checkpoint_writer.cpp
  csrc/core/cpu_count.cpp
  csrc/core/distinct_draws.cpp
  csrc/core/fork_mutex.cpp
  csrc/core/isa.cpp
  csrc/core/mapped_files.cpp
  csrc/core/mass_tree.cpp
  csrc/core/platform_files.cpp
  csrc/core/process_stamp.cpp
  csrc/core/replay_buffer.cpp
  csrc/core/replay_prioritized.cpp
  csrc/core/replay_prioritized_state.cpp
  csrc/core/replay_reservoir.cpp
  csrc/core/replay_sampling.cpp
  csrc/core/replay_state.cpp
  csrc/core/replay_storage.cpp
  csrc/core/replay_store.cpp
  csrc/core/replay_tasks.cpp
  csrc/core/sequence_priorities.cpp
  csrc/core/shared_lane.cpp
  csrc/core/slot_set.cpp
  csrc/core/streams.cpp
  csrc/core/streams_gather.cpp
  csrc/core/streams_state.cpp
  csrc/core/streams_stored.cpp
  csrc/core/task_index.cpp
  csrc/core/thread_pool.cpp
  csrc/core/tree.cpp
  csrc/core/weights.cpp
  csrc/envs/bsuite/define.cpp
  csrc/envs/classic_control/define.cpp
  csrc/envs/library.cpp
  csrc/envs/meta/define.cpp
  csrc/envs/minatar/define.cpp
  csrc/envs/minigrid/define.cpp
  csrc/envs/registry.cpp
  csrc/envs/toy_text/define.cpp
)

# Hot loops: each file is compiled once per instruction-set level, in a namespace of its own (see metarl/isa.h).
set(METARL_KERNEL_SOURCES
  csrc/core/block_copy.cpp
  csrc/core/crc32c_kernels.cpp
  csrc/core/tree_descend.cpp
  csrc/core/tree_draws.cpp
  csrc/core/tree_kernels.cpp
  csrc/core/weights_kernels.cpp
  csrc/envs/bsuite/bandit_kernels.cpp
  csrc/envs/bsuite/cartpole_swingup_kernels.cpp
  csrc/envs/bsuite/catch_ball_kernels.cpp
  csrc/envs/bsuite/deep_sea_kernels.cpp
  csrc/envs/bsuite/discounting_chain_kernels.cpp
  csrc/envs/bsuite/memory_chain_kernels.cpp
  csrc/envs/classic_control/acrobot_kernels.cpp
  csrc/envs/classic_control/cartpole_kernels.cpp
  csrc/envs/classic_control/mountain_car_continuous_kernels.cpp
  csrc/envs/classic_control/mountain_car_kernels.cpp
  csrc/envs/classic_control/pendulum_kernels.cpp
  csrc/envs/convert_actions.cpp
  csrc/envs/meta/maze_kernels.cpp
  csrc/envs/meta/point_robot_kernels.cpp
  csrc/envs/meta/random_mdp_kernels.cpp
  csrc/envs/meta/trial_bandit_kernels.cpp
  csrc/envs/minatar/asterix_kernels.cpp
  csrc/envs/minatar/breakout_kernels.cpp
  csrc/envs/minatar/freeway_kernels.cpp
  csrc/envs/minatar/seaquest_kernels.cpp
  csrc/envs/minatar/space_invaders_kernels.cpp
  csrc/envs/minigrid/minigrid_kernels.cpp
  csrc/envs/random_actions.cpp
  csrc/envs/toy_text/blackjack_kernels.cpp
  csrc/envs/toy_text/cliff_walking_kernels.cpp
  csrc/envs/toy_text/frozen_lake_kernels.cpp
  csrc/envs/toy_text/taxi_kernels.cpp
)

# metarl_set_kernel_options(<root>): options of single files below <root>, for the targets of the calling folder.
function(metarl_set_kernel_options root)
  if(MSVC)
    return()
  endif()
  # Loops that take square roots vectorise only where errno need not be set.
  foreach(file point_robot random_mdp trial_bandit)
    set_source_files_properties(${root}/csrc/envs/meta/${file}_kernels.cpp PROPERTIES COMPILE_OPTIONS -fno-math-errno)
  endforeach()
  # GCC 12's straight-line vectoriser leaves out roundings to float there (tests/conformance and the golden hashes show
  # it); the loops are vectorised by the other one.
  set_source_files_properties(${root}/csrc/envs/classic_control/mountain_car_continuous_kernels.cpp
    PROPERTIES COMPILE_OPTIONS -fno-tree-slp-vectorize)
endfunction()
