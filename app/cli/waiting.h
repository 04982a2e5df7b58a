// SPDX-License-Identifier: Apache-2.0
// How the engine's threads wait for each other between operations: a moment awake, then asleep, unless the user says
// otherwise. LibTorch's OpenMP makes waiting threads spin for milliseconds, which keeps whatever else runs (the window,
// too) off their cores; threads that sleep at once take 10–20 us to wake, a few hundred times a pass.
// docs/measurements.md
// ("Waiting threads") has the figures.
#pragma once

namespace headroom::cli {

/// OpenMP reads its variables when it is loaded, before main(): a hook that runs before any library is initialised
/// starts the program anew with OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=5000 (some 100 us), as long as neither is
/// set. To be called first in main(): takes the variables out again, so that programs started from here see what the
/// user set.
void forget_waiting();

}  // namespace headroom::cli
