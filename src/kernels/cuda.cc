#include "kernels/cuda.h"

#include <algorithm>
#include <numeric>

#include "ir/target.h"
#include "kernels/cuda_printer.h"

namespace jaxmps::kernels {
namespace {

constexpr int64_t kUnroll = 4;        // elements of a loop per thread
constexpr int64_t kKept = 16;         // elements of a row that a thread keeps in registers
constexpr int64_t kMaxThreads = 512;  // for one row
static_assert(kKept * kMaxThreads == ir::kCuda.longest_row && kMaxThreads <= ir::kCuda.max_threads);

}  // namespace

std::vector<int32_t> CudaPrinter::live() const {
  std::vector<int32_t> values;
  for (int32_t v = 0; v < schedule_.size(); ++v) {
    if (schedule_[v].live) values.push_back(v);
  }
  return values;
}

std::string CudaPrinter::position(int64_t offset, const std::vector<int64_t>& strides) const {
  const std::string_view wide = index_type() == "int" ? "" : "(s64)";
  std::string text = str(offset);
  for (size_t a = 0; a < strides.size(); ++a) {
    if (strides[a] == 0) continue;
    text +=
        strides[a] == 1 ? str(" + ", wide, "i", a) : str(" + ", wide, "i", a, " * ", strides[a]);
  }
  return text;
}

std::string CudaPrinter::inside(const Access& access) const {
  std::string text;
  for (const Bound& b : access.bounds) {
    text +=
        str(text.empty() ? "" : " && ", "i", b.axis, " >= ", b.lo, " && i", b.axis, " < ", b.hi);
  }
  return text.empty() ? "true" : text;
}

std::string CudaPrinter::load(const ScalarInstr& instr, int stage) const {
  const Access& access = f_.accesses[instr.imm];
  if (access.kind == Access::Kind::inside) return str("(u8)(", inside(access), ")");
  std::string at = position(access.offset, access.strides);
  if (instr.a >= 0) at += str(" + ", value(instr.a, stage));
  const std::string type = cuda_type(access.type);
  if (access.kind == Access::Kind::index) return str("(", type, ")(", at, ")");
  const std::string element = str("((const ", type, "*)in", access.input, ")[", at, "]");
  return access.bounds.empty() ? element
                               : str("(", inside(access), ") ? ", element, " : (", type, ")0");
}

std::string CudaPrinter::value(int32_t v, int stage) const {
  if (v < 0) return {};
  const bool from_before = schedule_[v].is_kept && schedule_[v].stage < stage;
  return from_before ? str("k", v, "[j]") : str("v", v);
}

Status CudaPrinter::define(int32_t v) {
  const ScalarInstr& i = instr(v);
  const std::string type = cuda_type(i.type);
  const int s = schedule_[v].stage;
  if (i.op == Opcode::load) {
    line(str("const ", type, " v", v, " = ", load(i, s), ";"));
    return {};
  }
  if (i.op == Opcode::threefry) {
    line(str("u32 v", v, ", w", v, "; threefry(", value(i.a, s), ", ", value(i.b, s), ", ",
             value(i.c, s), ", ", value(i.d, s), ", &v", v, ", &w", v, ");"));
    return {};
  }
  if (i.op == Opcode::threefry_second) {
    line(str("const u32 v", v, " = w", i.a, ";"));
    return {};
  }
  TRY(std::string text,
      cuda_expression(f_.program, i, value(i.a, s), value(i.b, s), value(i.c, s)));
  line(str("const ", type, " v", v, " = ", text, ";"));
  return {};
}

// Declares the coordinates of axes [begin, end) from their row-major position.
void CudaPrinter::axes(std::string_view linear, int begin, int end) {
  std::string rest(linear);
  for (int a = end - 1; a >= begin; --a) {
    const int64_t extent = f_.dims[static_cast<size_t>(a)];
    line(a == begin ? str("const ", index_type(), " i", a, " = ", rest, ";")
                    : str("const ", index_type(), " i", a, " = ", rest, " % ", extent, ";"));
    rest = str("(", rest, " / ", extent, ")");
  }
}

void CudaPrinter::store(const OutputPart& part) {
  const ScalarInstr& i = instr(part.value);
  line(str("((", cuda_type(i.type), "*)out", part.output, ")[", position(part.offset, part.strides),
           "] = ", value(part.value, schedule_[part.value].stage), ";"));
}

std::string CudaPrinter::signature(const CudaKernel& kernel) const {
  std::string parameters;
  auto add = [&](const std::string& parameter) {
    parameters = parameters.empty() ? parameter : str(parameters, ", ", parameter);
  };
  for (int i : kernel.inputs) add(str("const void* __restrict__ in", i));
  if (kernel.reads_scratch) add("const void* __restrict__ scratch");
  for (int o : kernel.outputs) add(str("void* __restrict__ out", o));
  if (kernel.scratch_bytes) add("void* __restrict__ scratch");
  return str("extern \"C\" __global__ void __launch_bounds__(", kernel.threads, ") ", kernel.name,
             "(", parameters, ") {\n");
}

void CudaPrinter::store_kept(std::string_view condition) {
  line(str("if (", condition, ") {"));
  ++depth_;
  for (const OutputPart& part : schedule_.parts()) {
    if (!part.is_spread) store(part);
  }
  --depth_;
  line("}");
}

Status CudaPrinter::loop(CudaKernel* kernel) {
  kernel->threads = 256;
  const int64_t n = f_.size(), per_block = kernel->threads * kUnroll;
  kernel->blocks = (n + per_block - 1) / per_block;
  const std::string index = index_type();
  line(str("const ", index, " start = (", index, ")blockIdx.x * ", per_block, " + threadIdx.x;"));
  line("#pragma unroll");
  line(str("for (int u = 0; u < ", kUnroll, "; ++u) {"));
  ++depth_;
  line(str("const ", index, " n = start + u * ", kernel->threads, ";"));
  line(str("if (n >= ", n, ") continue;"));
  axes("n", 0, static_cast<int>(f_.dims.size()));
  for (int32_t v : live()) CHECK_OK(define(v));
  for (const OutputPart& part : schedule_.parts()) store(part);
  --depth_;
  line("}");
  return {};
}

// Leaves the reduction of part<v> over the threads of a row in part<v> of each of them.
void CudaPrinter::reduce_block(int32_t v, int64_t threads, int64_t row_groups) {
  const ScalarInstr& i = instr(v);
  const std::string part = str("part", v), type = cuda_type(i.type);
  auto fold = [&](const std::string& other) {
    line(str(part, " = ", cuda_combine(i.op, i.type, part, other), ";"));
  };
  for (int64_t mask = std::min<int64_t>(threads, 32) / 2; mask; mask /= 2)
    fold(str("shuffle(", part, ", ", mask, ")"));
  if (threads > 32) {
    const int64_t warps = threads / 32;
    line(str("__shared__ ", type, " all", v, "[", row_groups * warps, "];"));
    line(str("if (lane % 32 == 0) all", v, "[group * ", warps, " + lane / 32] = ", part, ";"));
    line("__syncthreads();");
    line(str(part, " = all", v, "[group * ", warps, "];"));
    line("#pragma unroll");
    line(str("for (int w = 1; w < ", warps, "; ++w) ", part, " = ",
             cuda_combine(i.op, i.type, part, str("all", v, "[group * ", warps, " + w]")), ";"));
  }
  const std::string init = str("v", i.b);
  line(str("const ", type, " v", v, " = ", cuda_combine(i.op, i.type, init, part), ";"));
}

Status CudaPrinter::stage(int s, int64_t threads, int64_t per_thread) {
  const int64_t length = schedule_.length();
  std::vector<int32_t> reductions;
  CHECK_OK(kept_values(s));
  for (int32_t v : live()) {
    const ScalarInstr& i = instr(v);
    if (schedule_[v].is_kept && schedule_[v].stage == s)
      line(str(cuda_type(i.type), " k", v, "[", per_thread, "];"));
    if (!is_reduce(v) || schedule_[v].stage != s + 1) continue;
    reductions.push_back(v);
    line(str(cuda_type(i.type), " part", v, " = ", cuda_neutral(i.op, i.type), ";"));
  }
  line("#pragma unroll");
  line(str("for (int j = 0; j < ", per_thread, "; ++j) {"));
  ++depth_;
  line(str("const ", index_type(), " r = lane + j * ", threads, ";"));
  if (per_thread * threads != length) line(str("if (r >= ", length, ") continue;"));
  axes("r", f_.reduced_begin, f_.reduced_end);
  for (int32_t v : live()) {
    if (!schedule_[v].is_element() || schedule_[v].stage != s) continue;
    CHECK_OK(define(v));
    if (schedule_[v].is_kept) line(str("k", v, "[j] = v", v, ";"));
  }
  for (const OutputPart& part : schedule_.parts()) {
    if (part.is_spread && schedule_[part.value].stage == s) store(part);
  }
  for (int32_t v : reductions) {
    const ScalarInstr& i = instr(v);
    line(str("part", v, " = ", cuda_combine(i.op, i.type, str("part", v), value(i.a, s)), ";"));
  }
  --depth_;
  line("}");
  const int64_t row_groups = std::max<int64_t>(1, 128 / threads);
  for (int32_t v : reductions) reduce_block(v, threads, row_groups);
  return {};
}

Status CudaPrinter::rows(CudaKernel* kernel) {
  const int64_t length = schedule_.length(), count = schedule_.groups();
  int64_t threads = 1;
  while (threads < kMaxThreads && threads * 4 < length) threads *= 2;
  const int64_t per_thread = (length + threads - 1) / threads;
  const int64_t row_groups = std::max<int64_t>(1, 128 / threads);
  kernel->threads = static_cast<int>(threads * row_groups);
  kernel->blocks = std::max<int64_t>(1, (count + row_groups - 1) / row_groups);
  const std::string index = index_type();
  line(str("const int lane = threadIdx.x % ", threads, ", group = threadIdx.x / ", threads, ";"));
  // Groups beyond the last row repeat it, so that all threads meet at the barriers.
  line(str(index, " row = (", index, ")blockIdx.x * ", row_groups, " + group;"));
  line(str("if (row >= ", count, ") row = ", count - 1, ";"));
  axes("row", 0, f_.reduced_begin);
  for (int s = 0; s < schedule_.stages(); ++s) CHECK_OK(stage(s, threads, per_thread));
  store_kept("lane == 0");
  return {};
}

// Names the kernel after its text and closes it.
void CudaPrinter::finish(CudaKernel* kernel, std::string_view kind) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (char c : str(signature(*kernel), body_)) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  }
  kernel->name = str("mps_", kind, "_", cuda_hex(hash).substr(2));
  kernel->source = str(cuda_prelude(), signature(*kernel), body_, "}\n");
  body_.clear();
}

Result<CudaFusion> CudaPrinter::print() {
  if (f_.size() == 0) return unimplemented("a CUDA kernel of nothing");
  CudaFusion fusion;
  // What reads a reduction of the same elements needs them in registers; otherwise a long reduction
  // is cut in pieces, so that it fills the machine.
  const bool is_row =
      f_.kind == Fusion::Kind::row && schedule_.length() <= ir::kCuda.longest_row;
  constexpr int64_t kFewRows = 64;
  const bool rereads = schedule_.stages() > 2 || schedule_.rereads_elements();
  if (!reduces_ || (is_row && (rereads || schedule_.groups() >= kFewRows))) {
    CudaKernel kernel;
    kernel.inputs.resize(f_.inputs.size());
    std::iota(kernel.inputs.begin(), kernel.inputs.end(), 0);
    kernel.outputs.resize(f_.outputs.size());
    std::iota(kernel.outputs.begin(), kernel.outputs.end(), 0);
    CHECK_OK(reduces_ ? rows(&kernel) : loop(&kernel));
    finish(&kernel, reduces_ ? "rows" : "loop");
    fusion.kernels.push_back(std::move(kernel));
    return fusion;
  }
  if (rereads) {
    return unimplemented(str("a CUDA reduction of ", schedule_.length(),
                             " elements that are read again with its result"));
  }
  CHECK_OK(split(&fusion));
  return fusion;
}

Result<CudaFusion> print_cuda(const Fusion& fusion) { return CudaPrinter(fusion).print(); }

}  // namespace jaxmps::kernels
