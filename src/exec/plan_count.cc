// What a plan asks of a device, counted without one.
#include <algorithm>
#include <numeric>
#include <string_view>

#include "exec/plan.h"

namespace jaxmps::exec {
namespace {

class Counter {
 public:
  explicit Counter(const Plan& plan)
      : plan_(plan), seen_(plan.slots), written_(plan.slots), root_(plan.slots, -1) {}

  Count run() {
    most_read_.resize(plan_.parameters.size());
    for (size_t i = 0; i < plan_.parameters.size(); ++i) {
      const int slot = plan_.parameters[i];
      seen_[slot] = plan_.parameter_bytes[i];
      root_[slot] = static_cast<int>(i);
    }
    for (const Step& step : plan_.steps) add(step);
    for (const int64_t bytes : most_read_) all_.least_bytes += bytes;
    std::vector<Ref> results = plan_.results;
    std::sort(results.begin(), results.end());
    results.erase(std::unique(results.begin(), results.end()), results.end());
    for (const Ref result : results) all_.least_bytes += result < 0 ? 0 : written_[result];
    return all_;
  }

 private:
  // Of an operand that is read whole. Where it repeats elements, they come from memory once.
  int64_t seen(Ref ref) const {
    return ref < 0 ? static_cast<int64_t>(plan_.constants[~ref].nbytes()) : seen_[ref];
  }

  void add(const Step& step) {
    if (is_view(step)) return add_view(step);
    all_.launches += step.kind == Step::Kind::launch;
    all_.calls += step.kind == Step::Kind::call;
    all_.natives += step.kind == Step::Kind::native;
    if (step.loop) add_loop(*step.loop);
    if (step.branch) add_branch(*step.branch);
    const bool is_nested = step.loop || step.branch;
    std::vector<int64_t> reads = reads_of(step);
    for (size_t i = 0; i < reads.size(); ++i) {
      if (step.inputs[i] >= 0 && root_[step.inputs[i]] >= 0) {
        int64_t& most = most_read_[root_[step.inputs[i]]];
        most = std::max(most, reads[i]);
      }
      if (!is_nested) all_.bytes += reads[i];
    }
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      const int slot = step.outputs[i];
      seen_[slot] = written_[slot] = result_bytes(step, i);
      if (!updates_in_place(step, i)) continue;
      written_[slot] = updated_bytes(step, i, reads);
      const Ref whole = step.inputs[static_cast<size_t>(updated_operand(step, i))];
      if (whole >= 0) root_[slot] = root_[whole];
    }
    for (const int slot : step.outputs) all_.bytes += is_nested ? 0 : written_[slot];
  }

  // What a call updates is as large as what it reads beside.
  static int64_t updated_bytes(const Step& step, size_t i, const std::vector<int64_t>& reads) {
    for (const kernels::GpuUpdate& update : step.launch.updates) {
      if (update.output == static_cast<int>(i)) return update.bytes;
    }
    return std::accumulate(reads.begin() + 1, reads.end(), int64_t{0});
  }

  void add_view(const Step& step) {
    const Ref from = step.inputs[0];
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      const int slot = step.outputs[i];
      seen_[slot] = std::min(result_bytes(step, i), seen(from));
      if (from < 0) continue;
      written_[slot] = std::min(seen_[slot], written_[from]);
      root_[slot] = root_[from];
    }
  }

  std::vector<int64_t> reads_of(const Step& step) const {
    std::vector<int64_t> reads;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      const Ref input = step.inputs[i];
      const bool is_again =
          std::find(step.inputs.begin(), step.inputs.begin() + static_cast<int64_t>(i), input) !=
          step.inputs.begin() + static_cast<int64_t>(i);
      reads.push_back(is_again ? 0 : seen(input));
      if (i < step.launch.reads.size()) reads[i] = std::min(step.launch.reads[i], reads[i]);
      if (i < step.call.layouts.size() && step.call.layouts[i]) {
        reads[i] = std::min(step.call.layouts[i]->bytes(), reads[i]);
      }
    }
    if (step.call.operation == Operation::pick)
      reads[0] = std::min(reads[0], result_bytes(step, 0));
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      const int whole = updated_operand(step, i);
      if (whole >= 0) reads[whole] = updates_in_place(step, i) ? 0 : seen(step.inputs[whole]);
    }
    return reads;
  }

  void add_nested(const Count& nested, int64_t times) {
    all_.launches += times * nested.launches;
    all_.calls += times * nested.calls;
    all_.natives += times * nested.natives;
    all_.bytes += times * nested.bytes;
  }

  void add_loop(const WhileStep& loop) {
    add_nested(count(*loop.condition), loop.trip_count ? 0 : 1);
    add_nested(count(*loop.body), loop.trip_count.value_or(1));
  }

  void add_branch(const CaseStep& branch) {
    const auto work = [](const Count& c) { return c.launches + c.calls + c.natives; };
    Count most;
    for (const auto& plan : branch.branches) {
      most = std::max(most, count(*plan),
                      [&](const Count& a, const Count& b) { return work(a) < work(b); });
    }
    add_nested(most, 1);
  }

  const Plan& plan_;
  Count all_;
  std::vector<int64_t> seen_, written_;  // bytes, by slot
  std::vector<int> root_;                // whose memory a slot sees: a parameter's number, or -1
  std::vector<int64_t> most_read_;       // of each parameter, by one step
};

}  // namespace

bool is_view(const Step& step) {
  return step.kind == Step::Kind::alias || step.kind == Step::Kind::view ||
         step.call.operation == Operation::view;
}

int updated_operand(const Step& step, size_t i) {
  if (step.call.operation == Operation::update) return 0;
  for (const kernels::GpuUpdate& update : step.launch.updates) {
    if (update.output == static_cast<int>(i)) return update.input;
  }
  return -1;
}

bool updates_in_place(const Step& step, size_t i) {
  const int operand = updated_operand(step, i);
  return operand >= 0 && !step.last_read.empty() && step.last_read[static_cast<size_t>(operand)];
}

bool may_wait(const Step& step) {
  return step.kind != Step::Kind::call && step.kind != Step::Kind::launch &&
         step.kind != Step::Kind::alias;
}

int64_t result_bytes(const Step& step, size_t i) {
  auto bytes = static_cast<int64_t>(step.dtypes[i].size());
  for (const auto size : step.shapes[i]) bytes *= size;
  return bytes;
}

Count count(const Plan& plan) { return Counter(plan).run(); }

}  // namespace jaxmps::exec
