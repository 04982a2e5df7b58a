// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels of linear layers and rows as functions of the host, in a table like the module's.
#pragma once

#include "kernels/cuda/cuda_kernels.h"

namespace headroom::kernels::cuda::host {

/// Pointers are the host's. The others of the table are null.
const KernelTable& kernels_on_host();

}  // namespace headroom::kernels::cuda::host
