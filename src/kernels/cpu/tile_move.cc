// The steps of a tile: loads, stores, panels of neighbouring groups, and calls of the loops.
#include <bit>

#include "kernels/cpu/tile_context.h"
#include "kernels/cpu/transpose_block.h"
#include "scalar/machine_type.h"

namespace jaxmps::cpu {
namespace {

void fill_index(char* dst, bool wide, int64_t start, int64_t stride, int64_t n) {
  if (wide) {
    int64_t* d = reinterpret_cast<int64_t*>(dst);
    for (int64_t j = 0; j < n; ++j) d[j] = start + stride * j;
  } else {
    int32_t* d = reinterpret_cast<int32_t*>(dst);
    const int32_t first = static_cast<int32_t>(start), by = static_cast<int32_t>(stride);
    for (int32_t j = 0; j < static_cast<int32_t>(n); ++j) d[j] = first + by * j;
  }
}

template <typename T, typename Index>
void gather(char* dst, const char* src, int64_t stride, const Index* shifts, int64_t n) {
  T* d = reinterpret_cast<T*>(dst);
  const T* s = reinterpret_cast<const T*>(src);
  if (stride == 0) {
    for (int64_t j = 0; j < n; ++j) d[j] = s[shifts[j]];
  } else {
    for (int64_t j = 0; j < n; ++j) d[j] = s[stride * j + shifts[j]];
  }
}

template <typename Index>
void gather(char* dst, const char* src, int64_t stride, const Index* shifts, int64_t n, int size) {
  scalar::with_bits(size, [&](auto item) { gather<decltype(item)>(dst, src, stride, shifts, n); });
}

// One straight run of an access, `done` elements into the tile: lo and hi are the part of it that
// lies inside the bounds.
void load_run(Context& c, const Step& step, const int64_t* point, int64_t lo, int64_t hi,
              int64_t length, int64_t done, char* dst) {
  const Access& access = c.k.accesses[static_cast<size_t>(step.access)];
  const int size = step.size;
  const int64_t stride =
      access.strides.empty() ? 0 : access.strides[static_cast<size_t>(c.walk_end - 1)];
  if (access.kind == Access::Kind::inside) {
    std::memset(dst, 0, static_cast<size_t>(length));
    std::memset(dst + lo, 1, static_cast<size_t>(hi - lo));
    return;
  }
  int64_t position = access.offset;
  for (size_t a = 0; a < access.strides.size(); ++a) position += access.strides[a] * point[a];
  if (access.kind == Access::Kind::index)
    return fill_index(dst, size == 8, position, stride, length);
  if (lo > 0) std::memset(dst, 0, static_cast<size_t>(lo * size));
  if (hi < length) std::memset(dst + hi * size, 0, static_cast<size_t>((length - hi) * size));
  if (hi <= lo) return;
  const char* src =
      static_cast<const char*>(c.inputs[access.input]) + (position + lo * stride) * size;
  char* to = dst + lo * size;
  if (step.shift.entry >= 0) {
    if (!step.shift.single && !step.shift.runs) {
      const char* shifts = c.at[step.shift.entry] + (done + lo) * (step.shift.wide ? 8 : 4);
      if (step.shift.wide)
        gather(to, src, stride, reinterpret_cast<const int64_t*>(shifts), hi - lo, size);
      else
        gather(to, src, stride, reinterpret_cast<const int32_t*>(shifts), hi - lo, size);
      return;
    }
    src += c.shifted(step.shift, done + lo) * size;
  }
  if (stride == 1) {
    std::memcpy(to, src, static_cast<size_t>((hi - lo) * size));
  } else if (stride == 0) {
    uint64_t bits = 0;
    std::memcpy(&bits, src, static_cast<size_t>(size));
    c.k.table->fill(to, bits, hi - lo, size);
  } else {
    c.k.table->gather(to, src, stride, hi - lo, size);
  }
}

// As much as there is, again and again, until there are `all`.
template <typename T>
void repeat(T* d, int64_t length, int64_t all) {
  constexpr int64_t kFew = 16;
  int64_t done = length;
  for (const int64_t few = std::min(all, length * ((kFew + length - 1) / length)); done < few;
       ++done)
    d[done] = d[done - length];
  for (; done < all; done *= 2) {
    std::memcpy(d + done, d, static_cast<size_t>(std::min(done, all - done)) * sizeof(T));
  }
}

template <typename T>
void copy_rows(T* d, const T* s, int64_t rows, int64_t row_stride, int64_t length, int64_t stride) {
  if (stride == 1 && row_stride == length) {
    std::memcpy(d, s, static_cast<size_t>(rows * length) * sizeof(T));
    return;
  }
  const int64_t different = row_stride == 0 ? 1 : rows;
  for (int64_t r = 0; r < different; ++r, s += row_stride) {
    T* to = d + r * length;
    if (stride == 1) {
      for (int64_t j = 0; j < length; ++j) to[j] = s[j];
    } else if (stride == 0) {
      const T x = *s;
      for (int64_t j = 0; j < length; ++j) to[j] = x;
    } else {
      for (int64_t j = 0; j < length; ++j) to[j] = s[j * stride];
    }
  }
  if (different < rows) repeat(d, length, rows * length);
}

// Rows of a few bytes that follow each other in the tile. Each is written as a whole unit, of which
// the next one overwrites what is too much; strides are in bytes.
template <size_t unit>
void copy_short_rows(char* d, const char* s, const Context::Block& block, int64_t bytes,
                     int64_t by_row, int64_t by_sheet) {
  char row[unit];
  const auto exact = static_cast<size_t>(bytes);
  const int64_t rows = block.rows;  // the compiler can't know that no byte of the tile is it
  for (int64_t k = 0; k < block.sheets; ++k, s += by_sheet) {
    const bool is_last = k + 1 == block.sheets;
    if (by_row == 0) {
      // Beyond the last row there may be no memory.
      std::memcpy(row, s, !is_last && by_sheet + bytes >= int64_t{unit} ? unit : exact);
      for (int64_t r = is_last ? 1 : 0; r < rows; ++r, d += bytes) std::memcpy(d, row, unit);
    } else {
      const char* from = s;
      for (int64_t r = 1; r < rows; ++r, d += bytes, from += by_row) {
        std::memcpy(row, from, unit);
        std::memcpy(d, row, unit);
      }
      std::memcpy(row, from, exact);
      if (!is_last) std::memcpy(d, row, exact), d += bytes;
    }
    if (is_last) std::memcpy(d, row, exact);
  }
}

// False where that reads too much, or a unit would be more than two rows.
bool copy_short_rows(char* d, const char* s, const Context::Block& block, int64_t bytes,
                     int64_t by_row, int64_t by_sheet) {
  const auto unit = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes)));
  if (by_row < 0 || by_sheet < 0 || (by_row > 0 && by_row + bytes < unit)) return false;
  switch (unit) {
    case 4:
      return copy_short_rows<4>(d, s, block, bytes, by_row, by_sheet), true;
    case 8:
      return copy_short_rows<8>(d, s, block, bytes, by_row, by_sheet), true;
    case 16:
      return copy_short_rows<16>(d, s, block, bytes, by_row, by_sheet), true;
    case 32:
      return copy_short_rows<32>(d, s, block, bytes, by_row, by_sheet), true;
    case 64:
      return copy_short_rows<64>(d, s, block, bytes, by_row, by_sheet), true;
    default:
      return false;
  }
}

// A block of whole rows of the last axis, without bounds.
void load_block(const Context& c, const Step& step, const int64_t* point,
                const Context::Block& block, char* dst) {
  const Access& access = c.k.accesses[static_cast<size_t>(step.access)];
  int64_t position = access.offset;
  for (size_t a = 0; a < access.strides.size(); ++a) position += access.strides[a] * point[a];
  const char* src = static_cast<const char*>(c.inputs[access.input]) + position * step.size;
  const auto last = static_cast<size_t>(c.walk_end - 1);
  const int64_t by_row = access.strides[last - 1], by_one = access.strides[last];
  const int64_t by_sheet = block.sheets > 1 ? access.strides[last - 2] : 0;
  const int64_t sheet = block.rows * block.length, size = step.size;
  const bool is_run = by_row == block.length && (block.sheets == 1 || by_sheet == sheet);
  if (by_one == 1 && !is_run && (by_sheet != 0 || block.sheets == 1) &&
      copy_short_rows(dst, src, block, block.length * size, by_row * size, by_sheet * size)) {
    return;
  }
  scalar::with_bits(step.size, [&](auto item) {
    using T = decltype(item);
    T* d = reinterpret_cast<T*>(dst);
    const T* s = reinterpret_cast<const T*>(src);
    const int64_t different = by_sheet == 0 ? 1 : block.sheets;
    for (int64_t k = 0; k < different; ++k) {
      copy_rows(d + k * sheet, s + k * by_sheet, block.rows, by_row, block.length, by_one);
    }
    if (different < block.sheets) repeat(d, sheet, block.count());
  });
}

}  // namespace

void Context::load(const Step& step, int64_t n) {
  const Access& access = k.accesses[static_cast<size_t>(step.access)];
  const int last = walk_end - 1;
  char* dst = at[step.dst];
  int64_t done = 0;
  auto run = [&](const int64_t* point, const Block& block) {
    if (block.rows * block.sheets > 1) {
      load_block(*this, step, point, block, dst);
      dst += block.count() * step.size;
      return;
    }
    const int64_t length = block.length;
    int64_t lo = 0, hi = length;
    for (const kernels::Bound& b : access.bounds) {
      if (b.axis == last && !step.single) {
        lo = std::max(lo, b.lo - point[last]);
        hi = std::min(hi, b.hi - point[last]);
      } else if (point[b.axis] < b.lo || point[b.axis] >= b.hi) {
        hi = 0;
      }
    }
    lo = std::min(lo, length);
    hi = std::max(hi, lo);
    load_run(*this, step, point, lo, hi, length, done, dst);
    dst += length * step.size;
    done += length;
  };
  const bool is_plain = access.kind == Access::Kind::memory && access.bounds.empty();
  if (step.single)
    run(i, Block());
  else
    walk(n, is_plain && step.shift.entry < 0, run);
}

namespace {

template <typename T>
void scatter(T* sheet, const T* s, const Context::Block& block, int64_t by_sheet, int64_t by_row,
             int64_t stride) {
  for (int64_t k = 0; k < block.sheets; ++k, sheet += by_sheet) {
    T* d = sheet;
    for (int64_t r = 0; r < block.rows; ++r, d += by_row, s += block.length) {
      for (int64_t j = 0; j < block.length; ++j) d[j * stride] = s[j];
    }
  }
}

}  // namespace

void Context::store(const Step& step, int64_t n) {
  const OutputPart& part = k.parts[static_cast<size_t>(step.access)];
  const int64_t stride = part.strides.empty() ? 1 : part.strides.back();
  const char* src = at[step.a];
  const int size = part.size;
  uint64_t bits = 0;
  if (step.single) std::memcpy(&bits, src, static_cast<size_t>(size));
  const size_t rank = part.strides.size();
  const int64_t by_row = rank < 2 ? 0 : part.strides[rank - 2];
  const int64_t by_sheet = rank < 3 ? 0 : part.strides[rank - 3];
  walk(n, !step.single, [&](const int64_t* point, const Block& block) {
    const int64_t length = block.length;
    int64_t position = part.offset;
    for (size_t a = 0; a < part.strides.size(); ++a) position += part.strides[a] * point[a];
    char* dst = static_cast<char*>(outputs[part.output]) + position * size;
    if (step.single && (stride == 1 || length == 1)) {
      k.table->fill(dst, bits, length, size);
    } else if (step.single) {
      for (int64_t j = 0; j < length; ++j) {
        std::memcpy(dst + j * stride * size, &bits, static_cast<size_t>(size));
      }
    } else if (stride == 1 && block.rows == 1) {
      if (dst != src) std::memcpy(dst, src, static_cast<size_t>(length * size));
    } else {
      scalar::with_bits(size, [&](auto item) {
        using T = decltype(item);
        scatter(reinterpret_cast<T*>(dst), reinterpret_cast<const T*>(src), block, by_sheet, by_row,
                stride);
      });
    }
    if (!step.single) src += block.count() * size;
  });
}

namespace {

template <typename T>
void turn(T* panel, const T* source, int64_t stride, int64_t lines, int64_t length) {
  const int64_t pitch = panel_pitch(length);
  if (lines < kPanel) {
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t r = 0; r < length; ++r) panel[line * pitch + r] = source[r * stride + line];
    }
    return;
  }
  constexpr int64_t kStep = 16;
  for (int64_t r = 0; r < length; r += kStep) {
    const int64_t count = std::min(kStep, length - r);
    // Strides of pages are beyond what the hardware foresees.
    for (int64_t next = r + kStep; next < std::min(r + 2 * kStep, length); ++next) {
      __builtin_prefetch(source + next * stride);
    }
    transpose_block(source + r * stride, stride, panel + r, pitch, kPanel, count);
  }
}

}  // namespace

// Makes the panels of the current group present.
void Context::fill_panels() {
  const int axis = k.red_begin - 1;
  const int64_t extent = k.dims[static_cast<size_t>(axis)];
  int64_t wanted = 0;
  for (int a = 0; a < axis; ++a) wanted = wanted * k.dims[static_cast<size_t>(a)] + i[a];
  wanted = wanted * ((extent + kPanel - 1) / kPanel) + i[axis] / kPanel;
  if (wanted == panel) return;
  panel = wanted;
  const int64_t here = i[axis], start = here / kPanel * kPanel, red = i[k.red_begin];
  i[axis] = start;
  i[k.red_begin] = 0;
  const int64_t lines = std::min(kPanel, extent - start);
  for (const Binding& b : k.panels) {
    const Access& access = k.accesses[static_cast<size_t>(b.index)];
    const char* source = static_cast<const char*>(inputs[access.input]) +
                         position(access.offset, access.strides) * b.size;
    char* to = tile + b.offset;
    const int64_t stride = access.strides.back();
    scalar::with_bits(b.size, [&](auto item) {
      using T = decltype(item);
      turn(reinterpret_cast<T*>(to), reinterpret_cast<const T*>(source), stride, lines,
           k.red_count);
    });
  }
  i[axis] = here;
  i[k.red_begin] = red;
}

// Computes the batched values of the groups from this one on.
void Context::fill_batch() {
  batch_begin = outer;
  batch_end = std::min(outer + kBatch, outer_end);
  for (const Batched& b : k.batched) {
    at[b.entry] = group + k.entries[static_cast<size_t>(b.entry)].offset;
  }
  walk_begin = 0;
  walk_end = k.red_begin;
  execute(k.batch_steps, batch_end - batch_begin);
  walk_begin = k.tile_begin;
  walk_end = static_cast<int>(k.dims.size());
}

void Context::execute(const std::vector<Step>& steps, int64_t n) {
  for (const Step& s : steps) {
    const int64_t count = s.single ? 1 : n;
    switch (s.kind) {
      case Step::Kind::compute:
        s.fn(at[s.dst], s.a < 0 ? nullptr : at[s.a], s.b < 0 ? nullptr : at[s.b],
             s.c < 0 ? nullptr : at[s.c], count, s.imm);
        break;
      case Step::Kind::threefry: {
        const uint32_t* words[4];
        bool single[4];
        const int32_t entries[] = {s.a, s.b, s.c, s.d};
        for (int w = 0; w < 4; ++w) {
          words[w] = reinterpret_cast<const uint32_t*>(at[entries[w]]);
          single[w] = (s.singles >> w) & 1;
        }
        k.table->threefry(reinterpret_cast<uint32_t*>(at[s.dst]),
                          reinterpret_cast<uint32_t*>(at[s.dst2]), words, single, count);
        break;
      }
      case Step::Kind::load:
        load(s, n);
        break;
      case Step::Kind::store:
        store(s, n);
        break;
    }
    if (ahead_count > 0) look_ahead();
  }
}

}  // namespace jaxmps::cpu
