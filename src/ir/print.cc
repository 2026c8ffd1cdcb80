// The text of the IR:
//   %2 = stablehlo.add %0, %1 : f32[2,3]  // model.py:12:3
// Result types follow the colon; operand types stand before them where they differ. Values are
// numbered per function in order of definition, region arguments as %arg0, %arg1 ...
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>

#include "ir/module.h"

namespace jaxmps::ir {
namespace {

constexpr int kShownElements = 8;

std::string_view enum_text(Enum value) {
  static constexpr std::string_view kTexts[][7] = {
      {"EQ", "NE", "GE", "GT", "LE", "LT"},
      {"NOTYPE", "FLOAT", "TOTALORDER", "SIGNED", "UNSIGNED"},
      {"UNSPECIFIED", "ORIGINAL", "STATUS_RETURNING", "STATUS_RETURNING_UNIFIED", "TYPED_FFI"},
      {"FFT", "IFFT", "RFFT", "IRFFT"},
      {"DEFAULT", "HIGH", "HIGHEST"},
      {"DEFAULT", "THREE_FRY", "PHILOX"},
      {"", "UNIFORM", "NORMAL"},
      {"INVALID", "NO_TRANSPOSE", "TRANSPOSE", "ADJOINT"},
      {"DEFAULT", "HIGHEST", "TOLERANCE"},
  };
  const auto& texts = kTexts[static_cast<size_t>(value.kind)];
  return value.value < 7 && !texts[value.value].empty() ? texts[value.value] : "?";
}

std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += '\\';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string number(double value) {
  if (std::isnan(value)) return std::signbit(value) ? "-nan" : "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[32];
  for (int digits : {6, 9, 17}) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) break;
  }
  std::string out = text;
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

std::string element(const Dense& dense, int64_t index) {
  const DType dtype = dense.type.dtype;
  if (dtype == DType::pred) return dense.int_at(index) ? "true" : "false";
  if (is_unsigned_int(dtype)) return std::to_string(static_cast<uint64_t>(dense.int_at(index)));
  if (is_int(dtype)) return std::to_string(dense.int_at(index));
  if (is_complex(dtype)) {
    const Type parts(real_type(dtype), {2});
    Dense pair;
    pair.type = parts;
    pair.data = dense.data + (dense.splat ? 0 : index) * byte_size(dtype);
    return str("(", number(pair.float_at(0)), ", ", number(pair.float_at(1)), ")");
  }
  if (byte_size(dtype) == 1) {
    char text[8];
    std::snprintf(text, sizeof text, "0x%02X", dense.data[dense.splat ? 0 : index]);
    return text;
  }
  return number(dense.float_at(index));
}

std::string print_dense(const Dense& dense) {
  if (!dense.data && dense.type.is_static() && dense.type.size() == 0) return "[]";
  if (dense.splat || dense.type.is_scalar()) return element(dense, 0);
  const int64_t count = dense.type.size();
  std::string out = "[";
  for (int64_t i = 0; i < count && i < kShownElements; ++i) {
    if (i) out += ", ";
    out += element(dense, i);
  }
  if (count > kShownElements) out += str(", ... ", count, " elements");
  return out + "]";
}

// text(item) of each, between commas.
template <typename List, typename F>
std::string joined(const List& list, const F& text) {
  std::string out;
  for (const auto& item : list) out += str(out.empty() ? "" : ", ", text(item));
  return out;
}

std::string types(const std::vector<Type>& list) {
  return joined(list, [](const Type& type) { return brief(type); });
}

struct AttrPrinter {
  std::string operator()(const Unit&) const { return "unit"; }
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(const TypedInt& v) const {
    return v.dtype == DType::s64 ? std::to_string(v.value) : str(v.value, " : ", name(v.dtype));
  }
  std::string operator()(const TypedFloat& v) const {
    return v.dtype == DType::f64 ? number(v.value) : str(number(v.value), " : ", name(v.dtype));
  }
  std::string operator()(const std::string& v) const { return quoted(v); }
  std::string operator()(const Symbol& v) const { return str("@", v.name); }
  std::string operator()(const Type& v) const { return brief(v); }
  std::string operator()(Enum v) const { return std::string(enum_text(v)); }
  std::string operator()(const Ints& v) const { return str(v); }
  std::string operator()(const Dense& v) const { return print_dense(v); }
  std::string operator()(const Accuracy& v) const {
    return str("<atol ", number(v.atol), ", rtol ", number(v.rtol), ", ulps ", v.ulps, ", ",
               enum_text({Enum::Kind::accuracy_mode, static_cast<uint8_t>(v.mode)}), ">");
  }
  std::string operator()(const OutputOperandAlias& v) const {
    return str("<", v.output_tuple_indices, " from ", v.operand_index, v.operand_tuple_indices,
               ">");
  }
  std::string operator()(const ReplicaGroups& v) const {
    std::string out = str("[", joined(v.groups, [](const Dims& group) { return str(group); }), "]");
    if (!v.mesh.empty()) out += str(" @", v.mesh, v.axes);
    return out;
  }
  std::string operator()(const AttrList& v) const {
    return str("[", joined(v, [](const Attr& item) { return print(item); }), "]");
  }
  static std::string assignment(const NamedAttr& attr) {
    return str(attr.name, " = ", print(attr.value));
  }
  std::string operator()(const AttrDict& v) const { return str("{", joined(v, assignment), "}"); }
};

// Values that say nothing: an empty list, and what StableHLO's own text leaves out.
bool is_default(const Attr& attr) {
  if (const auto* list = attr.get_if<AttrList>()) return list->empty();
  if (const auto* dict = attr.get_if<AttrDict>()) return dict->empty();
  if (const auto* text = attr.get_if<std::string>()) return text->empty();
  if (const auto* accuracy = attr.get_if<Accuracy>()) return *accuracy == Accuracy{};
  return false;
}

class Printer {
 public:
  std::string out;

  void print_function(const Function& function) {
    names_.clear();
    next_value_ = next_arg_ = 0;
    out += str("func ", function.is_public ? "public @" : "@", function.name, "(");
    if (function.is_declaration) {
      out += types(function.type.elements);
    } else {
      for (int i = 0; i < function.body.arg_count(); ++i) {
        const Value* arg = function.body.arg(i);
        out += str(i ? ", " : "", name_arg(arg), ": ", brief(arg->type));
        print_attrs(function.arg_attrs, i);
      }
    }
    out += ") -> (";
    for (size_t i = 0; i < function.type.results.size(); ++i) {
      out += str(i ? ", " : "", brief(function.type.results[i]));
      print_attrs(function.result_attrs, i);
    }
    out += ")";
    if (!function.is_declaration) {
      out += " {\n";
      for (const Op* op : function.body) print_op(*op, 1);
      out += "}";
    }
    out += "\n";
  }

  void print_op(const Op& op, int depth) {
    // Operands first: a value not seen yet (an op printed alone) takes its number here.
    const auto operands = joined(op.operands(), [this](const Value* v) { return name_of(v); });
    out.append(2 * depth, ' ');
    for (int i = 0; i < op.result_count(); ++i) {
      out += str(i ? ", " : "", name_result(op.result(i)));
    }
    if (op.result_count() > 0) out += " = ";
    out += str(op.name(), operands.empty() ? "" : " ", operands);
    if (op.id == OpId::constant && op.attrs.size() == 1 && op.find("value")) {
      out += str(" ", print(*op.find("value")));
    } else {
      print_dict(op.attrs, "");
    }
    print_dict(op.discardable, " attributes");
    print_signature(op);
    const bool known = op.location && op.location->kind != Location::Kind::unknown;
    const std::string where = known ? str("  // ", brief(op.location)) : std::string();
    if (op.regions().empty()) {
      out += where + "\n";
      return;
    }
    for (size_t i = 0; i < op.regions().size(); ++i) {
      out += str(" {", i == 0 ? where : "", "\n");
      print_region(op.region(static_cast<int>(i)), depth);
      out.append(2 * depth, ' ');
      out += "}";
    }
    out += "\n";
  }

 private:
  void print_region(const Region& region, int depth) {
    if (region.arg_count() > 0) {
      out.append(2 * depth + 1, ' ');
      out += "(";
      for (int i = 0; i < region.arg_count(); ++i) {
        out += str(i ? ", " : "", name_arg(region.arg(i)), ": ", brief(region.arg(i)->type));
      }
      out += "):\n";
    }
    for (const Op* op : region) print_op(*op, depth + 1);
  }

  void print_signature(const Op& op) {
    if (op.operand_count() + op.result_count() == 0) return;
    out += " : ";
    bool same = op.result_count() == 1;
    for (int i = 0; same && i < op.operand_count(); ++i) {
      same = op.operand(i) && op.operand(i)->type == op.result()->type;
    }
    if (!same && op.operand_count() > 0) {
      out += str(
          "(", joined(op.operands(), [](const Value* v) { return v ? brief(v->type) : "<null>"; }),
          op.result_count() > 0 ? ") -> " : ")");
    }
    if (op.result_count() > 1) out += "(";
    for (int i = 0; i < op.result_count(); ++i) {
      out += str(i ? ", " : "", brief(op.result(i)->type));
    }
    if (op.result_count() > 1) out += ")";
  }

  void print_dict(const AttrDict& attrs, std::string_view prefix) {
    AttrDict told;
    for (const NamedAttr& attr : attrs) {
      if (!is_default(attr.value)) told.push_back(attr);
    }
    if (!told.empty()) out += str(prefix, " ", print(Attr(std::move(told))));
  }

  void print_attrs(const std::vector<AttrDict>& attrs, size_t index) {
    if (index < attrs.size() && !attrs[index].empty()) out += str(" ", print(Attr(attrs[index])));
  }

  std::string name_arg(const Value* value) { return names_[value] = str("%arg", next_arg_++); }
  std::string name_result(const Value* value) { return names_[value] = str("%", next_value_++); }
  std::string name_of(const Value* value) {
    if (!value) return "<null>";
    auto found = names_.find(value);
    if (found != names_.end()) return found->second;
    return value->is_argument() ? name_arg(value) : name_result(value);
  }

  std::unordered_map<const Value*, std::string> names_;
  int64_t next_value_ = 0, next_arg_ = 0;
};

std::string print(const Mesh& mesh) {
  const auto axis = [](const MeshAxis& a) { return str(quoted(a.name), "=", a.size); };
  std::string out = str("mesh @", mesh.name, " <", joined(mesh.axes, axis), ">");
  if (!mesh.device_ids.empty()) out += str(" devices ", mesh.device_ids);
  return out + "\n";
}

}  // namespace

std::string print(const Attr& attr) { return std::visit(AttrPrinter{}, attr.value); }

std::string print(const Op& op) {
  Printer printer;
  printer.print_op(op, 0);
  printer.out.pop_back();  // the line end
  return printer.out;
}

std::string print(const Module& module) {
  Printer printer;
  printer.out = str("module @", module.name.empty() ? "unnamed" : module.name);
  if (!module.producer.empty()) printer.out += str(" from ", quoted(module.producer));
  if (!module.attrs.empty()) printer.out += str(" ", print(Attr(module.attrs)));
  printer.out += "\n";
  for (const Mesh& mesh : module.meshes) printer.out += print(mesh);
  for (const auto& function : module.functions) {
    printer.out += "\n";
    printer.print_function(*function);
  }
  return printer.out;
}

}  // namespace jaxmps::ir
