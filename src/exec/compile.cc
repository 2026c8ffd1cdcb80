// From artifact to Program: read, verify, optimise, plan; and the cache of compiled programs.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <unordered_map>

#include "base/env.h"
#include "base/floats.h"
#include "base/fork.h"
#include "base/log.h"
#include "bytecode/reader.h"
#include "exec/fused.h"
#include "exec/place.h"
#include "exec/plan.h"
#include "exec/program.h"
#include "ops/python_callback.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::exec {
namespace {

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

bool dumps() { return !env::text(env::Var::JAX_MPS_DUMP).empty(); }

// Writes `text` to JAX_MPS_DUMP/<program>.<stage>, if that is set.
void dump(const std::string& fingerprint, std::string_view stage, std::string_view text) {
  if (!dumps()) return;
  const std::string& folder = env::text(env::Var::JAX_MPS_DUMP);
  const std::string path = str(folder, "/", fingerprint, ".", stage);
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file) log(Level::warning, "cannot write ", path);
}

int64_t module_integer(const ir::Module& module, std::string_view name) {
  const ir::Attr* attr = ir::find(module.attrs, name);
  const auto* value = attr ? attr->get_if<ir::TypedInt>() : nullptr;
  return value ? value->value : 1;
}

void note_donation(const ir::AttrDict& attrs, size_t parameter, ProgramInfo& info) {
  if (const ir::Attr* alias = ir::find(attrs, "tf.aliasing_output")) {
    info.donated[parameter] = true;
    info.alias[parameter] = static_cast<int>(std::get<ir::TypedInt>(alias->value).value);
  }
  if (const ir::Attr* donor = ir::find(attrs, "jax.buffer_donor")) {
    const bool* is_set = donor->get_if<bool>();
    info.donated[parameter] = info.donated[parameter] || !is_set || *is_set;
  }
}

ProgramInfo describe(const ir::Module& module) {
  ProgramInfo info;
  const ir::Function& main = *module.main();
  info.name = module.name.empty() ? "main" : module.name;
  info.parameters = main.type.elements;
  info.results = main.type.results;
  for (const ir::Type& type : info.results) {
    info.tokens.push_back(type.kind == ir::Type::Kind::token);
  }
  // Clients pass the tokens of ordered effects as empty arrays of booleans.
  for (auto* types : {&info.parameters, &info.results}) {
    for (ir::Type& type : *types) {
      if (type.kind == ir::Type::Kind::token) type = ir::Type(ir::DType::pred, {0});
    }
  }
  info.donated.resize(info.parameters.size());
  info.alias.assign(info.parameters.size(), -1);
  info.parameter_attrs = main.arg_attrs;
  info.parameter_attrs.resize(info.parameters.size());
  info.result_attrs = main.result_attrs;
  info.result_attrs.resize(info.results.size());
  for (size_t i = 0; i < info.parameters.size(); ++i) {
    note_donation(info.parameter_attrs[i], i, info);
  }
  return info;
}

Status check_signature(const ProgramInfo& info, const ir::Target& target) {
  auto check = [&](const ir::Type& type, std::string_view what, size_t i) -> Status {
    if (type.is_static() && !type.quantization) {
      if (auto why = ir::missing_type(type, target); !why.empty()) {
        return unimplemented(
            str(what, " ", i, " of ", info.name, " is ", ir::brief(type), "; ", why));
      }
      if (ops::fits_dimensions(type)) return {};
      return unimplemented(str(what, " ", i, " of ", info.name, " is ", ir::brief(type),
                               "; a dimension can be at most ", ops::kLargestDim));
    }
    return unimplemented(str(what, " ", i, " of ", info.name, " is ", ir::brief(type),
                             "; only tensors of known shape can cross the program's border"));
  };
  for (size_t i = 0; i < info.parameters.size(); ++i) {
    CHECK_OK(check(info.parameters[i], "parameter", i));
  }
  for (size_t i = 0; i < info.results.size(); ++i) CHECK_OK(check(info.results[i], "result", i));
  return {};
}

bool calls_python(ir::Module& module) {
  bool found = false;
  passes::walk(module, [&](const ir::Op* op) {
    found = found || (op->id == ir::OpId::custom_call &&
                      op->text("call_target_name") == ops::kPythonCallback);
  });
  return found;
}

}  // namespace

class Compiler {
 public:
  static Result<ProgramPtr> run(std::shared_ptr<const std::string> artifact,
                                const CompileOptions& options, const ir::Target& target,
                                std::string fingerprint) {
    std::shared_ptr<Program> program(new Program);
    program->artifact_ = artifact;
    program->target_ = &target;
    program->fingerprint_ = std::move(fingerprint);
    const std::string& id = program->fingerprint_;
    dump(id, "artifact.mlirbc", *artifact);
    TRY(program->module_, bytecode::read_artifact(std::move(artifact)));
    ir::Module& module = *program->module_;
    CHECK_OK(check_devices(module, options));
    CHECK_OK(ir::verify(module));
    program->info_ = describe(module);
    CHECK_OK(check_signature(program->info_, target));
    CHECK_OK(run_passes(id, module));
    program->calls_python_ = calls_python(module);
    const Work work = work_of(module.main()->body);
    program->info_.flops = work.flops;
    program->info_.bytes_accessed = work.bytes;
    std::string notes;
    std::vector<Error> refused;
    ir::refuse_missing_types(module.main()->body, target, &refused);
    program->is_on_cpu_ = target.runs_native;
    if (refused.empty()) CHECK_OK(place(*program));
    if (program->is_on_cpu_ && !target.runs_native) return ProgramPtr(program);
    std::string places;
    if (refused.empty()) CHECK_OK(place_regions(module, target, dumps() ? &places : nullptr));
    if (!places.empty()) dump(id, "4.regions.txt", places);
    if (refused.empty()) CHECK_OK(fuse_module(module, target, dumps() ? &notes : nullptr));
    dump(id, "2.fusions.txt", notes);
    program->text_ = ir::print(module);
    dump(id, "2.fused.txt", program->text_);
    program->info_.temporary_bytes = live_peak(module.main()->body);
    TRY(const std::vector<Device*>* all, devices());
    const StreamScope scope(*all->front());
    program->stream_ = all->front()->stream().index;
    program->plan_ = build_plan(module.main()->body, {}, target, &refused);
    if (!refused.empty()) return passes::join(refused).in(program->info_.name);
    if (dumps()) {
      std::string kernels;
      for_fusions(module.main()->body,
                  [&](const ir::Op& fusion) { kernels += kernel_text(fusion, target); });
      dump(id, "3.kernels.txt", kernels);
      dump(id, "4.plan.txt", print(*program->plan_));
    }
    if (std::none_of(program->plan_->steps.begin(), program->plan_->steps.end(), may_wait)) {
      program->gpu_nanoseconds_ = gpu_nanoseconds(module.main()->body);
    }
    release_kernels(module);
    for (const mx::array& constant : program->plan_->constants) {
      program->info_.constant_bytes += static_cast<int64_t>(constant.nbytes());
    }
    return ProgramPtr(program);
  }

 private:
  // Takes the program for the CPU, where it is that's.
  static Status place(Program& program) {
    std::string notes;
    TRY(PlacedProgram placed,
        place_program(program.artifact_, work_of(program.module_->main()->body), *program.target_,
                      dumps() ? &notes : nullptr));
    if (!notes.empty()) dump(program.fingerprint_, "4.cpu.txt", notes);
    if (!placed.plan) return {};
    program.text_ = ir::print(*placed.module);
    program.info_.temporary_bytes = live_peak(placed.module->main()->body);
    release_kernels(*placed.module);
    program.module_ = std::move(placed.module);
    program.plan_ = std::move(placed.plan);
    program.is_on_cpu_ = true;
    return {};
  }

  // Dumps the module before the passes and after each that changed it.
  static Status run_passes(const std::string& id, ir::Module& module) {
    if (!dumps()) return passes::run_passes(module);
    std::string before = ir::print(module);
    dump(id, "0.read.txt", before);
    int count = 0;
    return passes::run_passes(module, [&](std::string_view pass, const ir::Module& after) {
      std::string text = ir::print(after);
      ++count;
      if (text == before) return;
      dump(id, str("1.", count < 10 ? "0" : "", count, '.', pass, ".txt"), text);
      before = std::move(text);
    });
  }

  static Status check_devices(const ir::Module& module, const CompileOptions& options) {
    const int64_t devices = std::max(options.num_replicas * options.num_partitions,
                                     module_integer(module, "mhlo.num_replicas") *
                                         module_integer(module, "mhlo.num_partitions"));
    if (devices == 1) return {};
    return unimplemented(str(module.name, " is a program for ", devices,
                             " devices; programs for several devices are not supported yet"));
  }
};

Result<ProgramPtr> compile(std::shared_ptr<const std::string> artifact,
                           const CompileOptions& options, const ir::Target& target) {
  // Equal content means equal program; entries live as long as somebody uses the program.
  const DeviceFloats floats;  // constants are folded
  static std::mutex& mutex = lasting_mutex();
  static auto* cache = new std::unordered_map<std::string, std::weak_ptr<const Program>>;

  const std::string settings =
      str(target.name, ";", options.num_replicas, ";", options.num_partitions);
  const uint64_t low = content_hash(settings, content_hash(*artifact));
  const uint64_t high = content_hash(settings, content_hash(*artifact, 0x9e3779b97f4a7c15ull));
  const std::string fingerprint = hex(high) + hex(low);
  {
    std::lock_guard lock(mutex);
    auto found = cache->find(fingerprint);
    if (found != cache->end()) {
      if (auto program = found->second.lock(); program && program->artifact() == *artifact) {
        return program;
      }
    }
  }
  TRY(ProgramPtr program, Compiler::run(std::move(artifact), options, target, fingerprint));
  std::lock_guard lock(mutex);
  std::erase_if(*cache, [](const auto& entry) { return entry.second.expired(); });
  (*cache)[fingerprint] = program;
  return program;
}

}  // namespace jaxmps::exec
