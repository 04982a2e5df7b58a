// SPDX-License-Identifier: Apache-2.0
// Inverses of many small triangular matrices, as the chunked delta rule needs them (Yang et al. 2024, arXiv
// 2406.06484, section 3: the UT transform).
#pragma once

#include <ATen/core/Tensor.h>

namespace headroom::model {

/// (I + lower)^-1 of each [n, n] of `lower` [..., n, n] fp32, whose diagonal and upper part are not read. By
/// substitution, which stays accurate where powers of `lower` would overflow (equal keys). Any device.
at::Tensor unit_triangular_inverse(const at::Tensor& lower);

/// The same by ATen's operators alone, as devices other than the CPU do it.
at::Tensor unit_triangular_inverse_by_blocks(const at::Tensor& lower);

}  // namespace headroom::model
