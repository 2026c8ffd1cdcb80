#include "fusion/write_out.h"

#include <algorithm>

#include "fusion/index_map.h"
#include "fusion/schedule.h"

namespace jaxmps::fusion {
namespace {

constexpr int64_t kShort = 8;               // positions
constexpr int64_t kFewPoints = 32;          // of the other axes: not worth it
constexpr int64_t kMostInstructions = 400;  // written out

class Writer {
 public:
  Writer(const Fusion& f, size_t axis)
      : f_(f),
        schedule_(f),
        axis_(axis),
        extent_(f.dims[axis]),
        known_(f.program.instrs.size() * static_cast<size_t>(extent_), -1) {}

  Fusion write() {
    out_.dims = f_.dims;
    erase(&out_.dims);
    out_.reduced_begin = out_.reduced_end = static_cast<int>(out_.dims.size());
    out_.inputs = f_.inputs;
    for (int64_t k = 0; k < extent_; ++k) {
      for (const FusionOutput& o : f_.outputs) {
        FusionOutput& part = out_.outputs.emplace_back(o);
        part.value.re = eval(o.value.re, k);
        if (o.value.im >= 0) part.value.im = eval(o.value.im, k);
        part.offset += k * o.strides[axis_];
        erase(&part.strides);
      }
    }
    collapse_axes(&out_);
    return std::move(out_);
  }

 private:
  void erase(std::vector<int64_t>* of_axes) const {
    of_axes->erase(of_axes->begin() + static_cast<int64_t>(axis_));
  }

  // The instruction's value at position k of the axis.
  int32_t eval(int32_t v, int64_t k) {
    if (v < 0) return v;
    if ((schedule_[v].axes >> axis_ & 1) == 0) k = 0;
    int32_t& known =
        known_[static_cast<size_t>(v) * static_cast<size_t>(extent_) + static_cast<size_t>(k)];
    if (known < 0) known = compute(f_.program.instrs[static_cast<size_t>(v)], k);
    return known;
  }

  int32_t compute(const ScalarInstr& i, int64_t k) {
    if (i.op == Opcode::load) return load(i, k);
    const int32_t a = eval(i.a, k);
    // Of a choice that is known here the other side is not looked at.
    if (i.op == Opcode::select && builder_.instr(a).op == Opcode::constant) {
      return eval(builder_.instr(a).imm ? i.b : i.c, k);
    }
    const int32_t b = eval(i.b, k), c = eval(i.c, k), d = eval(i.d, k);
    return builder_.emit(i.op, i.type, a, b, c, i.imm, d);
  }

  int32_t load(const ScalarInstr& i, int64_t k) {
    Access access = f_.accesses[i.imm];
    bool is_inside = true;
    std::erase_if(access.bounds, [&](const Bound& b) {
      if (b.axis != static_cast<int>(axis_)) return false;
      is_inside = is_inside && b.lo <= k && k < b.hi;
      return true;
    });
    const bool asks = access.kind == Access::Kind::inside;
    if (access.kind != Access::Kind::index && (!is_inside || (asks && access.bounds.empty()))) {
      return builder_.emit(Opcode::constant, i.type, -1, -1, -1, asks && is_inside ? 1 : 0);
    }
    for (Bound& b : access.bounds) b.axis -= b.axis > static_cast<int>(axis_) ? 1 : 0;
    access.offset += k * access.strides[axis_];
    erase(&access.strides);
    const auto found = std::find(out_.accesses.begin(), out_.accesses.end(), access);
    const auto number = static_cast<uint64_t>(found - out_.accesses.begin());
    if (found == out_.accesses.end()) out_.accesses.push_back(std::move(access));
    return builder_.emit(Opcode::load, i.type, eval(i.a, k), -1, -1, number);
  }

  const Fusion& f_;
  const FusionSchedule schedule_;
  const size_t axis_;
  const int64_t extent_;
  Fusion out_;
  ScalarBuilder builder_{&out_.program};
  std::vector<int32_t> known_;  // by instruction and position
};

bool has_bounds(const Fusion& f, size_t axis) {
  return std::any_of(f.accesses.begin(), f.accesses.end(), [&](const Access& access) {
    return std::any_of(access.bounds.begin(), access.bounds.end(),
                       [&](const Bound& b) { return b.axis == static_cast<int>(axis); });
  });
}

// Whether the innermost two axes are one run of memory for every result, and for every operand too
// or else the same row again and again: such tiles are as long as any, and are filled by copies.
bool is_run_of_rows(const Fusion& f) {
  const size_t last = f.dims.size() - 1;
  auto is_run = [&](const std::vector<int64_t>& strides) {
    return strides[last] == 1 && strides[last - 1] == f.dims[last];
  };
  return std::all_of(f.outputs.begin(), f.outputs.end(),
                     [&](const FusionOutput& o) { return is_run(o.strides); }) &&
         std::all_of(f.accesses.begin(), f.accesses.end(),
                     [&](const Access& access) {
                       if (access.strides.empty()) return true;
                       return access.kind == Access::Kind::memory && access.bounds.empty() &&
                              (is_run(access.strides) || access.strides[last - 1] == 0);
                     }) &&
         std::none_of(f.program.instrs.begin(), f.program.instrs.end(),
                      [](const ScalarInstr& i) { return i.op == Opcode::load && i.a >= 0; });
}

// The innermost axis that is worth it.
std::optional<size_t> short_axis(const Fusion& f) {
  if (f.kind != Fusion::Kind::loop || f.dims.size() < 2 || f.size() == 0) return std::nullopt;
  if (is_run_of_rows(f)) return std::nullopt;
  const auto length = static_cast<int64_t>(f.program.instrs.size());
  for (size_t axis = f.dims.size(); axis-- > 0;) {
    const int64_t extent = f.dims[axis];
    if (extent > 1 && extent <= kShort && f.size() / extent >= kFewPoints &&
        extent * length <= kMostInstructions &&
        (axis + 1 == f.dims.size() || has_bounds(f, axis))) {
      return axis;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Fusion> write_out_short_axes(const Fusion& fusion) {
  std::optional<Fusion> written;
  auto whole = [&]() -> const Fusion& { return written ? *written : fusion; };
  while (const auto axis = short_axis(whole())) written = Writer(whole(), *axis).write();
  return written;
}

}  // namespace jaxmps::fusion
