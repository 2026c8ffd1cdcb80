// One nest of loops: fusions without reductions, or with such as are written out.
#include "kernels/llvm/nest_text.h"

#include <algorithm>
#include <unordered_map>

#include "fusion/schedule.h"

namespace jaxmps::kernels {
namespace {

constexpr int64_t kMostPoints = 64;          // written out
constexpr int64_t kMostInstructions = 6000;  // of the text
constexpr int64_t kShortAxis = 16, kMostPieces = 12;

struct Range {
  int64_t begin = 0, end = 0;
};

// How the axes are walked.
class Walk {
 public:
  // Somebody else walks the first `given` axes.
  explicit Walk(const Fusion& f, size_t given = 0);

  bool has_text() const;
  bool is_written_out(int axis) const { return (out_ >> axis & 1) != 0; }
  const std::vector<int>& loops() const { return loops_; }  // axes, outermost first
  const std::vector<Range>& pieces(int axis) const { return pieces_[at(axis)]; }
  uint64_t axes_of(int32_t v) const { return schedule_[v].axes; }
  // The loops around the place where something that depends on these axes is computed.
  size_t level(uint64_t axes) const;

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  int64_t live_count() const { return static_cast<int64_t>(live_.size()); }
  void choose_loops();
  void cut();
  std::vector<Range> cut(int axis) const;
  bool is_reduced(int axis) const { return f_.reduced_begin <= axis && axis < f_.reduced_end; }

  const Fusion& f_;
  const size_t given_;
  const FusionSchedule schedule_;
  const std::vector<int32_t> live_;
  int64_t points_ = 1, piece_count_ = 1;
  uint64_t out_ = 0;
  std::vector<int> loops_;
  std::vector<std::vector<Range>> pieces_;
};

Walk::Walk(const Fusion& f, size_t given)
    : f_(f), given_(given), schedule_(f), live_(schedule_.live()) {
  choose_loops();
  cut();
}

void Walk::choose_loops() {
  const int rank = static_cast<int>(f_.dims.size());
  int64_t size = 1;
  for (size_t a = given_; a < f_.dims.size(); ++a) size *= f_.dims[a];
  const bool is_short = size <= kFewPoints;
  for (int a = static_cast<int>(given_); a < rank; ++a) {
    if (is_reduced(a) || is_short) {
      out_ |= 1ull << a;
      points_ *= f_.dims[at(a)];
    } else {
      loops_.push_back(a);
    }
  }
  // A short innermost axis is written out, so that a longer one becomes the innermost.
  while (loops_.size() > 1) {
    const int64_t extent = f_.dims[at(loops_.back())];
    const int64_t longest = f_.dims[at(loops_[loops_.size() - 2])];
    if (extent >= kShortAxis || longest <= extent || points_ * extent > kMostPoints ||
        points_ * extent * live_count() > kMostInstructions / 2) {
      break;
    }
    points_ *= extent;
    out_ |= 1ull << loops_.back();
    loops_.pop_back();
  }
}

std::vector<Range> Walk::cut(int axis) const {
  const int64_t extent = f_.dims[at(axis)];
  std::vector<int64_t> ends{0, extent};
  for (const int32_t v : live_) {
    const ScalarInstr& i = f_.program.instrs[at(v)];
    if (i.op != Opcode::load) continue;
    for (const Bound& b : f_.accesses[i.imm].bounds) {
      if (b.axis != axis) continue;
      for (const int64_t end : {b.lo, b.hi}) ends.push_back(std::clamp<int64_t>(end, 0, extent));
    }
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  std::vector<Range> pieces;
  for (size_t k = 0; k + 1 < ends.size(); ++k) pieces.push_back({ends[k], ends[k + 1]});
  return pieces;
}

// Inner axes first: their bounds would be asked for at each element.
void Walk::cut() {
  pieces_.resize(f_.dims.size());
  for (size_t k = loops_.size(); k-- > 0;) {
    const int axis = loops_[k];
    auto pieces = cut(axis);
    if (piece_count_ * static_cast<int64_t>(pieces.size()) > kMostPieces) {
      pieces = {{0, f_.dims[at(axis)]}};
    }
    piece_count_ *= std::max<int64_t>(1, static_cast<int64_t>(pieces.size()));
    pieces_[at(axis)] = std::move(pieces);
  }
}

size_t Walk::level(uint64_t axes) const {
  size_t level = 0;
  for (size_t k = 0; k < loops_.size(); ++k) {
    if (axes >> loops_[k] & 1) level = k + 1;
  }
  return level;
}

bool Walk::has_text() const {
  return points_ <= kMostPoints && points_ * live_count() * piece_count_ <= kMostInstructions &&
         std::all_of(live_.begin(), live_.end(), [this](int32_t v) {
           const ScalarInstr& i = f_.program.instrs[at(v)];
           const DType from = i.a < 0 ? i.type : f_.program.instrs[at(i.a)].type;
           return i.op == Opcode::load || LlvmText::knows(i, from);
         });
}

class Printer {
 public:
  Printer(LlvmText* text, const Fusion& f, const std::vector<std::string>& inputs,
          const std::vector<std::string>& outputs, const std::vector<std::string>& given, int cut)
      : text_(*text),
        f_(f),
        inputs_(inputs),
        outputs_(outputs),
        given_(given.size()),
        cut_(cut),
        walk_(f, given_),
        indices_(given),
        facts_(f.dims.size()),
        known_(walk_.loops().size() + 1),
        blocks_(walk_.loops().size() + 1) {
    indices_.resize(f.dims.size());
    for (size_t a = 0; a < given_; ++a) facts_[a] = {0, f.dims[a]};
  }

  void print(std::string* to) {
    if (f_.outputs.empty() || is_empty()) return;
    const std::string inner = level(0);
    *to += blocks_[0] + inner;
  }

 private:
  using Point = std::vector<int64_t>;  // positions on the axes that are written out

  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  bool is_empty() const {
    return std::any_of(f_.dims.begin(), f_.dims.end(), [](int64_t d) { return d == 0; });
  }
  const ScalarInstr& instr(int32_t v) const { return f_.program.instrs[at(v)]; }
  size_t depth() const { return walk_.loops().size(); }

  std::string level(size_t k);
  std::string loop(size_t k, const Range& range);
  std::string body();
  void store(const FusionOutput& o, const Point& p, std::string* stores);
  void store_part(const FusionOutput& o, int32_t v, int64_t part, const Point& p,
                  std::string* stores);
  std::string eval(int32_t v, const Point& p);
  std::string compute(int32_t v, const Point& p, size_t level);
  std::string reduce(const ScalarInstr& i, const Point& p);
  std::string load(const ScalarInstr& i, const Point& p, size_t level);
  std::string element(const std::string& base, const std::string& index, int64_t more, DType type,
                      size_t level);
  std::string walked(const std::vector<int64_t>& strides, size_t level);
  int64_t constant_part(const std::vector<int64_t>& strides, const Point& p) const;
  std::optional<std::string> inside(const Access& access, const Point& p, size_t level,
                                    bool* never);
  std::string combine(std::string* to, const ScalarInstr& i, const std::string& a,
                      const std::string& b);
  const char* group(size_t level) const { return level == depth() ? group_.c_str() : ""; }
  bool is_fixed(int axis) const {
    return walk_.is_written_out(axis) || facts_[at(axis)].end - facts_[at(axis)].begin == 1;
  }
  int64_t position(int axis, const Point& p) const {
    return walk_.is_written_out(axis) ? p[at(axis)] : facts_[at(axis)].begin;
  }
  uint64_t key(int32_t v, const Point& p) const;

  LlvmText& text_;
  const Fusion& f_;
  const std::vector<std::string>& inputs_;
  const std::vector<std::string>& outputs_;
  const size_t given_;
  const int cut_;
  Walk walk_;
  std::vector<std::string> indices_;  // of the loops' and the given axes
  std::vector<Range> facts_;          // where their indices lie
  // By level: values that are computed there, and the text that does so.
  std::vector<std::unordered_map<uint64_t, std::string>> known_;
  std::vector<std::string> blocks_;
  std::vector<std::map<std::vector<int64_t>, std::string>> sums_{depth() + 1};
  std::string group_;
};

uint64_t Printer::key(int32_t v, const Point& p) const {
  uint64_t number = 0;
  const uint64_t axes = walk_.axes_of(v);
  for (size_t a = 0; a < f_.dims.size(); ++a) {
    if (!walk_.is_written_out(static_cast<int>(a)) || (axes >> a & 1) == 0) continue;
    number = number * at(f_.dims[a]) + at(p[a]);
  }
  return number << 32 | static_cast<uint64_t>(v);
}

std::string Printer::level(size_t k) {
  if (k == depth()) return body();
  std::string all;
  for (const Range& range : walk_.pieces(walk_.loops()[k])) {
    for (size_t inner = k + 1; inner <= depth(); ++inner) {
      known_[inner].clear();
      sums_[inner].clear();
      blocks_[inner].clear();
    }
    all += loop(k, range);
  }
  return all;
}

std::string Printer::loop(size_t k, const Range& range) {
  const size_t axis = at(walk_.loops()[k]);
  const bool is_cut = walk_.loops()[k] == cut_;
  facts_[axis] = range;
  if (range.end - range.begin == 1 && !is_cut) {
    indices_[axis] = str(range.begin);
    const std::string inner = level(k + 1);
    return blocks_[k + 1] + inner;
  }
  LlvmText::Independent trips;
  // Points are independent of each other.
  if (k + 1 == depth()) trips = text_.independent();
  group_ = trips.access;
  const LlvmText::Loop loop = is_cut ? text_.part(range.begin, range.end, trips.branch)
                                     : text_.loop(range.begin, range.end, trips.branch);
  indices_[axis] = loop.index;
  const std::string inner = level(k + 1);
  group_.clear();
  return loop.head + blocks_[k + 1] + inner + loop.tail;
}

// All points that are written out; what they store comes last.
std::string Printer::body() {
  std::string stores;
  Point p(f_.dims.size(), 0);
  for (const FusionOutput& o : f_.outputs) {
    std::vector<int> axes;
    for (size_t a = 0; a < f_.dims.size(); ++a) {
      const int axis = static_cast<int>(a);
      const bool is_kept = axis < f_.reduced_begin || axis >= f_.reduced_end || o.strides[a] != 0;
      if (walk_.is_written_out(axis) && is_kept) axes.push_back(axis);
    }
    std::fill(p.begin(), p.end(), 0);
    for (bool more = true; more;) {
      store(o, p, &stores);
      more = false;
      for (size_t k = axes.size(); k-- > 0 && !more;) {
        int64_t& position = p[at(axes[k])];
        more = ++position < f_.dims[at(axes[k])];
        if (!more) position = 0;
      }
    }
  }
  return std::exchange(blocks_[depth()], {}) + stores;
}

void Printer::store(const FusionOutput& o, const Point& p, std::string* stores) {
  store_part(o, o.value.re, 0, p, stores);
  if (o.value.im >= 0) store_part(o, o.value.im, 1, p, stores);
}

void Printer::store_part(const FusionOutput& o, int32_t v, int64_t part, const Point& p,
                         std::string* stores) {
  const std::string value = eval(v, p);
  const DType type = instr(v).type;
  const std::string& base = outputs_[at(&o - f_.outputs.data())];
  const std::string address = element(base, walked(o.strides, depth()),
                                      o.offset + part + constant_part(o.strides, p), type, depth());
  *stores += str("  store ", llvm_type(type), ' ', value, ", ptr ", address, ", align ",
                 ir::byte_size(type), group(depth()), '\n');
}

std::string Printer::eval(int32_t v, const Point& p) {
  const size_t level = walk_.level(walk_.axes_of(v));
  const uint64_t k = key(v, p);
  if (const auto found = known_[level].find(k); found != known_[level].end()) return found->second;
  std::string value = compute(v, p, level);
  known_[level].emplace(k, value);
  return value;
}

std::string Printer::compute(int32_t v, const Point& p, size_t level) {
  const ScalarInstr& i = instr(v);
  if (i.op == Opcode::load) return load(i, p, level);
  if (is_reduction(i.op)) return reduce(i, p);
  std::string operands[4];
  const int32_t sources[4] = {i.a, i.b, i.c, i.d};
  for (int k = 0; k < 4; ++k) {
    if (sources[k] >= 0) operands[k] = eval(sources[k], p);
  }
  const DType from = i.a < 0 ? i.type : instr(i.a).type;
  return text_.instruction(&blocks_[level], i, from, operands);
}

std::string Printer::combine(std::string* to, const ScalarInstr& i, const std::string& a,
                             const std::string& b) {
  const ScalarInstr with{combining(i.op), i.type};
  return text_.instruction(to, with, i.type, {a, b, {}, {}});
}

// As reduce_loop does: lanes, then halves onto halves.
std::string Printer::reduce(const ScalarInstr& i, const Point& p) {
  std::vector<std::string> lanes;
  Point at_row = p;
  for (int a = f_.reduced_begin; a < f_.reduced_end; ++a) at_row[at(a)] = 0;
  const size_t size = at(ir::byte_size(i.type)), most = size >= 4 ? 256 / size : 64;
  const bool is_row = f_.reduced_end == static_cast<int>(f_.dims.size());
  const size_t level = walk_.level(walk_.axes_of(i.a) | walk_.axes_of(i.b));
  std::string* to = &blocks_[level];
  const bool is_max = i.op == Opcode::reduce_max;
  // In whatever order: one test tells whether there is a NaN among them.
  const bool is_extremum = (is_max || i.op == Opcode::reduce_min) && ir::is_float(i.type);
  for (size_t n = 0;; ++n) {
    std::string value = eval(i.a, at_row);
    if (is_row && n >= most && !is_extremum) {
      lanes[n % most] = combine(to, i, lanes[n % most], value);
    } else {
      lanes.push_back(std::move(value));
    }
    int axis = f_.reduced_end - 1;
    for (; axis >= f_.reduced_begin; --axis) {
      if (++at_row[at(axis)] < f_.dims[at(axis)]) break;
      at_row[at(axis)] = 0;
    }
    if (axis < f_.reduced_begin) break;
  }
  if (is_extremum) lanes = {text_.extremum(to, is_max, i.type, std::move(lanes))};
  while (lanes.size() > 1) {
    const size_t half = (lanes.size() + 1) / 2;
    for (size_t j = 0; j + half < lanes.size(); ++j) {
      lanes[j] = combine(to, i, lanes[j], lanes[j + half]);
    }
    lanes.resize(half);
  }
  return combine(to, i, eval(i.b, p), lanes[0]);
}

int64_t Printer::constant_part(const std::vector<int64_t>& strides, const Point& p) const {
  int64_t sum = 0;
  for (size_t a = 0; a < strides.size(); ++a) {
    const int axis = static_cast<int>(a);
    if (strides[a] != 0 && is_fixed(axis)) sum += strides[a] * position(axis, p);
  }
  return sum;
}

// The sum of stride times index over the loops up to this level; empty for none.
std::string Printer::walked(const std::vector<int64_t>& strides, size_t level) {
  for (; level > 0; --level) {
    const int axis = walk_.loops()[level - 1];
    if (strides[at(axis)] != 0 && !is_fixed(axis)) break;
  }
  if (const auto found = sums_[level].find(strides); found != sums_[level].end()) {
    return found->second;
  }
  std::string sum = level == 0 ? std::string() : walked(strides, level - 1);
  std::string* to = &blocks_[level];
  auto add = [&](size_t axis) {
    std::string term = indices_[axis];
    if (strides[axis] != 1) term = text_.emit(to, str("mul nsw i64 ", term, ", ", strides[axis]));
    sum = sum.empty() ? term : text_.emit(to, str("add nsw i64 ", sum, ", ", term));
  };
  if (level > 0) add(at(walk_.loops()[level - 1]));
  for (size_t a = 0; level == 0 && a < given_; ++a) {
    if (strides[a] != 0 && f_.dims[a] > 1) add(a);
  }
  sums_[level].emplace(strides, sum);
  return sum;
}

std::string Printer::element(const std::string& base, const std::string& index, int64_t more,
                             DType type, size_t level) {
  std::string address = base;
  const char* t = llvm_type(type);
  if (!index.empty()) {
    address =
        text_.emit(&blocks_[level], str("getelementptr ", t, ", ptr ", address, ", i64 ", index));
  }
  if (more != 0) {
    address =
        text_.emit(&blocks_[level], str("getelementptr ", t, ", ptr ", address, ", i64 ", more));
  }
  return address;
}

// The predicate that all bounds hold where that is not known, or whether they never do.
std::optional<std::string> Printer::inside(const Access& access, const Point& p, size_t level,
                                           bool* never) {
  std::optional<std::string> all;
  *never = false;
  std::string* to = &blocks_[level];
  for (const Bound& b : access.bounds) {
    if (is_fixed(b.axis)) {
      const int64_t i = position(b.axis, p);
      *never = *never || i < b.lo || i >= b.hi;
      continue;
    }
    const Range& fact = facts_[at(b.axis)];
    if (b.lo <= fact.begin && fact.end <= b.hi) continue;
    if (b.hi <= fact.begin || fact.end <= b.lo) {
      *never = true;
      continue;
    }
    const std::string& index = indices_[at(b.axis)];
    const std::string from = text_.emit(to, str("sub nsw i64 ", index, ", ", b.lo));
    const std::string test = text_.emit(to, str("icmp ult i64 ", from, ", ", b.hi - b.lo));
    all = all ? text_.emit(to, str("and i1 ", *all, ", ", test)) : test;
  }
  return all;
}

std::string Printer::load(const ScalarInstr& i, const Point& p, size_t level) {
  const Access& access = f_.accesses[i.imm];
  std::string* to = &blocks_[level];
  const std::string t = llvm_type(i.type);
  bool never;
  const auto test = inside(access, p, level, &never);
  if (access.kind == Access::Kind::inside) {
    if (never || !test) return never ? "0" : "1";
    return text_.emit(to, str("zext i1 ", *test, " to i8"));
  }
  if (access.kind == Access::Kind::memory && never) return llvm_constant(i.type, 0);
  std::string index = walked(access.strides, level);
  int64_t more = access.offset + constant_part(access.strides, p);
  if (access.kind == Access::Kind::index) {
    if (index.empty()) return str(i.type == DType::s32 ? static_cast<int32_t>(more) : more);
    const std::string sum = text_.emit(to, str("add nsw i64 ", index, ", ", more));
    return i.type == DType::s64 ? sum : text_.emit(to, str("trunc i64 ", sum, " to i32"));
  }
  if (i.a >= 0) {
    std::string shift = eval(i.a, p);
    if (instr(i.a).type != DType::s64) shift = text_.emit(to, str("sext i32 ", shift, " to i64"));
    index = index.empty() ? shift : text_.emit(to, str("add nsw i64 ", index, ", ", shift));
  }
  if (test) {
    // Element 0 is read instead.
    const std::string sum =
        index.empty() ? str(more) : text_.emit(to, str("add nsw i64 ", index, ", ", more));
    index = text_.emit(to, str("select i1 ", *test, ", i64 ", sum, ", i64 0"));
    more = 0;
  }
  const std::string& base = inputs_[at(access.input)];
  const std::string address = element(base, index, more, i.type, level);
  std::string value = text_.emit(to, str("load ", t, ", ptr ", address, ", align ",
                                         ir::byte_size(i.type), group(level), text_.kept(base)));
  if (!test) return value;
  return text_.emit(
      to, str("select i1 ", *test, ", ", t, ' ', value, ", ", t, ' ', llvm_constant(i.type, 0)));
}

}  // namespace

int longest_axis(const Fusion& fusion, const std::vector<int>& axes) {
  constexpr int64_t kEnough = 64;  // positions
  int best = -1;
  for (const int axis : axes) {
    const int64_t extent = fusion.dims[static_cast<size_t>(axis)];
    if (extent >= kEnough) return axis;
    if (best < 0 || extent > fusion.dims[static_cast<size_t>(best)]) best = axis;
  }
  return best;
}

bool can_print_nest(const Fusion& fusion, size_t given) { return Walk(fusion, given).has_text(); }

void print_nest(LlvmText* text, std::string* to, const Fusion& fusion,
                const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                const std::vector<std::string>& given, int cut) {
  Printer(text, fusion, inputs, outputs, given, cut).print(to);
}

int axis_to_cut(const Fusion& fusion) {
  const Walk walk(fusion);
  return longest_axis(fusion, walk.loops());
}

}  // namespace jaxmps::kernels
