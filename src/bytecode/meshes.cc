// Meshes, and replica groups given by mesh axes: device positions count row-major over the mesh;
// the axes that are not named number the groups, and inside a group the first named axis is
// slowest.
#include <algorithm>

#include "bytecode/cursor.h"
#include "bytecode/op_specs.h"

namespace jaxmps::bytecode {
namespace {

using ir::Attr;

constexpr int64_t kMaxDevices = int64_t{1} << 20;
constexpr size_t kMaxAxes = 64;

struct Axis {
  int64_t size, stride;
};

struct NamedAxis {
  std::string name;
  int64_t pre_size = 1, size = 0;  // size 0: all of it
};

template <typename T>
Result<const T*> part(const ir::AttrDict& dict, std::string_view name) {
  const Attr* attr = ir::find(dict, name);
  const T* value = attr ? attr->get_if<T>() : nullptr;
  if (!value) return invalid(str("mesh without a valid ", name));
  return value;
}

Result<NamedAxis> axis_of(const Attr& attr) {
  const auto* dict = attr.get_if<ir::AttrDict>();
  if (!dict) return invalid("mesh axis reference without a name");
  NamedAxis out;
  TRY(const std::string* name, part<std::string>(*dict, "name"));
  out.name = *name;
  if (const Attr* sub = ir::find(*dict, "sub_axis")) {
    const auto* sub_dict = sub->get_if<ir::AttrDict>();
    if (!sub_dict) return invalid("sub-axis without sizes");
    TRY(const ir::TypedInt* pre_size, part<ir::TypedInt>(*sub_dict, "pre_size"));
    TRY(const ir::TypedInt* size, part<ir::TypedInt>(*sub_dict, "size"));
    if (pre_size->value < 1 || size->value < 1) return invalid("sub-axis of no size");
    out.pre_size = pre_size->value;
    out.size = size->value;
  }
  return out;
}

// Splits the mesh into the named axes, in their order, and the rest in mesh order.
Status split(const ir::Mesh& mesh, const std::vector<NamedAxis>& wanted, std::vector<Axis>& named,
             std::vector<Axis>& rest) {
  named.assign(wanted.size(), Axis{0, 0});
  int64_t stride = 1;
  std::vector<Axis> reversed;
  for (size_t a = mesh.axes.size(); a-- > 0;) {
    const ir::MeshAxis& axis = mesh.axes[a];
    // The parts of this axis that are asked for, the fastest (largest pre-size) first.
    std::vector<size_t> parts;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].name == axis.name) parts.push_back(i);
    }
    std::sort(parts.begin(), parts.end(),
              [&](size_t l, size_t r) { return wanted[l].pre_size > wanted[r].pre_size; });
    int64_t slow = axis.size;  // what lies outside of the parts taken so far
    for (size_t i : parts) {
      const int64_t pre = wanted[i].pre_size;
      const int64_t size = wanted[i].size ? wanted[i].size : axis.size;
      if (pre > slow || size > slow / pre || slow % (pre * size) != 0) {
        return invalid(str("axis ", quoted(axis.name), " of size ", axis.size,
                           " has no part of size ", size, " after ", pre));
      }
      const int64_t fast = slow / (pre * size);
      reversed.push_back({fast, stride});
      named[i] = {size, stride * fast};
      stride *= fast * size;
      slow = pre;
    }
    reversed.push_back({slow, stride});
    stride *= slow;
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (named[i].size == 0) return invalid(str("no axis ", quoted(wanted[i].name), " in the mesh"));
  }
  rest.assign(reversed.rbegin(), reversed.rend());
  return {};
}

// All positions of the axes, the first one slowest.
ir::Dims positions(const std::vector<Axis>& axes) {
  ir::Dims out{0};
  for (const Axis& axis : axes) {
    ir::Dims next;
    for (int64_t base : out) {
      for (int64_t i = 0; i < axis.size; ++i) next.push_back(base + i * axis.stride);
    }
    out = std::move(next);
  }
  return out;
}

}  // namespace

Result<ir::Mesh> to_mesh(const ir::AttrDict& dict, std::string name) {
  ir::Mesh mesh;
  mesh.name = std::move(name);
  TRY(const ir::AttrList* axes, part<ir::AttrList>(dict, "axes"));
  if (axes->size() > kMaxAxes) return invalid(str("mesh with ", axes->size(), " axes"));
  int64_t devices = 1;
  for (const Attr& item : *axes) {
    const auto* axis = item.get_if<ir::AttrDict>();
    if (!axis) return invalid("mesh axis without name and size");
    TRY(const std::string* axis_name, part<std::string>(*axis, "name"));
    TRY(const ir::TypedInt* size, part<ir::TypedInt>(*axis, "size"));
    if (size->value < 1 || size->value > kMaxDevices / devices) {
      return invalid(str("mesh axis ", quoted(*axis_name), " of size ", size->value));
    }
    for (const ir::MeshAxis& other : mesh.axes) {
      if (other.name == *axis_name) return invalid(str("two mesh axes ", quoted(*axis_name)));
    }
    devices *= size->value;
    mesh.axes.push_back({*axis_name, size->value});
  }
  if (const Attr* ids = ir::find(dict, "device_ids")) {
    if (const auto* list = ids->get_if<ir::Ints>()) {
      mesh.device_ids = *list;
    } else {
      TRY(const Attr list_attr, convert(AttrKind::ints, *ids));
      mesh.device_ids = *list_attr.get_if<ir::Ints>();
    }
  }
  // A mesh without axes names one device by its id ("maximal").
  const auto ids = static_cast<int64_t>(mesh.device_ids.size());
  if (ids != 0 && ids != devices) {
    return invalid(str("mesh of ", devices, " devices with ", ids, " device ids"));
  }
  return mesh;
}

Result<ir::ReplicaGroups> resolve_groups(const ir::AttrDict& by_axes,
                                         const std::vector<ir::Mesh>& meshes) {
  ir::Mesh inlined;
  const ir::Mesh* mesh = nullptr;
  const Attr* mesh_attr = ir::find(by_axes, "mesh");
  if (!mesh_attr) return invalid("neither lists nor mesh axes");
  std::string name;
  if (const auto* text = mesh_attr->get_if<std::string>()) name = *text;
  if (const auto* symbol = mesh_attr->get_if<ir::Symbol>()) name = symbol->name;
  if (const auto* dict = mesh_attr->get_if<ir::AttrDict>()) {
    TRY(inlined, to_mesh(*dict, ""));
    mesh = &inlined;
  } else {
    for (const ir::Mesh& candidate : meshes) {
      if (candidate.name == name) mesh = &candidate;
    }
    if (!mesh) return invalid(str("no mesh ", quoted(name)));
  }
  TRY(const ir::AttrList* axes, part<ir::AttrList>(by_axes, "axes"));
  if (axes->size() > kMaxAxes) return invalid(str(axes->size(), " mesh axes"));
  std::vector<NamedAxis> wanted;
  for (const Attr& item : *axes) {
    TRY(NamedAxis axis, axis_of(item));
    wanted.push_back(std::move(axis));
  }
  std::vector<Axis> named, rest;
  CHECK_OK(split(*mesh, wanted, named, rest));
  const ir::Dims inner = positions(named);
  ir::ReplicaGroups out;
  for (int64_t base : positions(rest)) {
    ir::Dims& group = out.groups.emplace_back();
    for (int64_t offset : inner) {
      const auto at = static_cast<size_t>(base + offset);
      group.push_back(mesh->device_ids.empty() ? base + offset : mesh->device_ids[at]);
    }
  }
  return out;
}

}  // namespace jaxmps::bytecode
