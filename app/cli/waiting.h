// SPDX-License-Identifier: Apache-2.0
// How the engine's threads wait for each other between operations: asleep, unless the user says otherwise. LibTorch's
// OpenMP makes waiting threads spin for milliseconds, which keeps whatever else runs (the window, too) off their cores.
#pragma once

namespace headroom::cli {

/// OpenMP reads its variables when it is loaded, before main(): a hook that runs before any library is initialised
/// starts the program anew with OMP_WAIT_POLICY=PASSIVE, as long as neither it nor GOMP_SPINCOUNT is set. To be called
/// first in main(): takes the variable out again, so that programs started from here see what the user set.
void forget_waiting();

}  // namespace headroom::cli
