// Kinds of devices, as what they can do. Passes, op blocks and the executor ask a target for a
// capability and never for its name. Targets are constants that live as long as the process and are
// told apart by their addresses.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/module.h"

namespace jaxmps::ir {

// How long calls take, estimated for the slowest machine of a kind that ends those that run long.
struct Pace {
  double longest_call = 0;      // nanoseconds; 0: as long as it takes
  double bytes = 1, flops = 1;  // per nanosecond

  double nanoseconds(double of_flops, double of_bytes) const {
    return of_flops / flops + of_bytes / bytes;
  }
  // In how many calls work is done, if it can be cut in so many.
  int64_t pieces(double nanoseconds) const {
    return longest_call == 0 ? 1 : 1 + static_cast<int64_t>(nanoseconds / longest_call);
  }
};

struct Target {
  std::string_view name;

  bool float64;  // exists, and complex128 with it
  // The CPU itself: native kernels run in its memory, each when its step comes, and the tile
  // machine runs fusions. Otherwise steps are sent to a GPU, and fusions are kernels printed for
  // it.
  bool runs_native;
  bool host_memory;  // the CPU reads it in place

  // MLX's kernels.
  bool exact_products;    // of float32 operands; otherwise these lose bits first
  bool scatters_64_bits;  // elements of 8 bytes
  bool strided_scans;     // are right along other axes than the last
  bool vector_epilogues;  // products by a vector take a sum, too; otherwise they are fusions
  bool strided_batches;   // of matrices, along several dimensions, are multiplied as they lie
  // Convolutions have gradients of their own, that of a kernel not by way of a huge kernel.
  bool gradient_convolutions;
  Pace pace;

  // Kernels of fusions.
  int64_t longest_row;     // whose elements are walked again with the results of its reductions
  int64_t shortest_slice;  // of a gather inside; those of one element are taken, too
  int max_buffers;         // of one kernel
  int max_threads;         // of a block; 0: kernels have no blocks
  int64_t shared_bytes;    // of a block
  bool turns_short_rows;   // many rows of few elements are walked as columns
  bool ordered_blocks;     // behind a fence a block sees what others of its launch have written
};

inline constexpr int64_t kAnyLength = std::numeric_limits<int64_t>::max();

inline constexpr Target kCpu{.name = "cpu",
                             .float64 = true,
                             .runs_native = true,
                             .host_memory = true,
                             .exact_products = true,
                             .scatters_64_bits = true,
                             .strided_scans = true,
                             .vector_epilogues = false,
                             .strided_batches = false,
                             .gradient_convolutions = false,
                             .pace = {},
                             .longest_row = kAnyLength,
                             // In a tile of several rows the index is worked out for each element.
                             .shortest_slice = 512,
                             .max_buffers = 33,
                             .max_threads = 0,
                             .shared_bytes = 0,
                             .turns_short_rows = true,
                             .ordered_blocks = false};

inline constexpr Target kCuda{.name = "cuda",
                              .float64 = false,
                              .runs_native = false,
                              .host_memory = false,
                              .exact_products = false,
                              .scatters_64_bits = false,
                              .strided_scans = true,
                              .vector_epilogues = false,
                              .strided_batches = false,
                              .gradient_convolutions = true,
                              .pace = {},
                              // What a block of threads holds in registers.
                              .longest_row = 8192,
                              .shortest_slice = 1,
                              .max_buffers = 33,
                              .max_threads = 1024,
                              .shared_bytes = 48 << 10,
                              .turns_short_rows = false,
                              .ordered_blocks = true};

inline constexpr Target kMetal{.name = "metal",
                               .float64 = false,
                               .runs_native = false,
                               .host_memory = true,
                               .exact_products = false,
                               .scatters_64_bits = false,
                               .strided_scans = false,
                               .vector_epilogues = true,
                               .strided_batches = true,
                               .gradient_convolutions = false,
                               // macOS ends command buffers that run for seconds. An M1 of seven
                               // cores has 68 bytes and 2300 operations at best.
                               .pace = {.longest_call = 0.25e9, .bytes = 40, .flops = 1000},
                               .longest_row = 8192,
                               .shortest_slice = 1,
                               .max_buffers = 31,
                               .max_threads = 1024,
                               .shared_bytes = 32 << 10,
                               .turns_short_rows = false,
                               // Fences of the whole device begin with version 3.2 of its language.
                               .ordered_blocks = false};

// Marks an op with regions as the CPU's, whatever the target of its program.
void run_on_cpu(Op& op);
// The target that runs the regions of the op.
const Target& target_of(const Op& op, const Target& target);

// The one gate for types: why the target has no such type; empty if it has.
std::string missing_type(const Type& type, const Target& target);
// Appends an error for each op, nested ones included, with a type that the target has not.
void refuse_missing_types(const Region& region, const Target& target, std::vector<Error>* refused);

}  // namespace jaxmps::ir
