"""A StableHLO module of jaxlib as the lines that `mlirbc-dump --ops` prints."""

import math
import re

import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

# Structured attributes and the names of their parts.
_STRUCTS = {
    "dot_dimension_numbers": (
        "DotDimensionNumbers",
        "lhs_batching_dimensions rhs_batching_dimensions lhs_contracting_dimensions rhs_contracting_dimensions",
    ),
    "scatter_dimension_numbers": (
        "ScatterDimensionNumbers",
        "update_window_dims inserted_window_dims input_batching_dims scatter_indices_batching_dims"
        " scattered_dims_to_operand_dims index_vector_dim",
    ),
    "algorithm": (
        "DotAlgorithm",
        "lhs_precision_type rhs_precision_type accumulation_type lhs_component_count rhs_component_count"
        " num_primitive_operations allow_imprecise_accumulation",
    ),
    "channel_handle": ("ChannelHandle", "handle channel_type"),
}
_GATHER = (
    "GatherDimensionNumbers",
    "offset_dims collapsed_slice_dims operand_batching_dims start_indices_batching_dims start_index_map"
    " index_vector_dim",
)
_CONVOLUTION = (
    "ConvDimensionNumbers",
    "input_batch_dimension input_feature_dimension input_spatial_dimensions kernel_input_feature_dimension"
    " kernel_output_feature_dimension kernel_spatial_dimensions output_batch_dimension"
    " output_feature_dimension output_spatial_dimensions",
)
_RENAMED = {"handle": "channel_id", "scattered_dims_to_operand_dims": "scatter_dims_to_operand_dims"}
# Printed in a form of our own, or resolved by the reader.
NOT_COMPARED = {"api_version", "result_accuracy", "output_operand_aliases", "sharding", "in_shardings",
                "out_shardings", "manual_axes", "allowed_direction"}  # fmt: skip

_NUMPY = {"i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64", "f16", "f32", "f64"}


def type_text(type_):
    return re.sub(r", #stablehlo\.bounds<[^>]*>", "", str(type_))


def _dense(attr):
    """Hex of the elements, and their type; the type alone where the bindings give no elements, or many."""
    element = str(attr.type.element_type)
    if element not in _NUMPY or math.prod(attr.type.shape) > 1000:
        return {"type": type_text(attr.type)}
    array = np.array(attr)
    return {"type": type_text(attr.type), "elements": np.ascontiguousarray(array).tobytes().hex()}


def _plain(name, attr):
    text = str(attr)
    if name == "replica_groups" and isinstance(attr, ir.DenseIntElementsAttr):
        return [[int(i) for i in row if i != -1] for row in np.array(attr)]
    if isinstance(attr, ir.UnitAttr):
        return True
    if isinstance(attr, ir.BoolAttr):
        return attr.value
    if isinstance(attr, ir.IntegerAttr):
        return attr.value
    if isinstance(attr, ir.FloatAttr):
        return attr.value
    if isinstance(attr, ir.StringAttr):
        return attr.value_bytes.decode("latin1")
    if isinstance(attr, ir.FlatSymbolRefAttr):
        return "@" + attr.value
    if isinstance(attr, ir.TypeAttr):
        return type_text(attr.value)
    if isinstance(attr, ir.DictAttr):
        names = [item if isinstance(item, str) else item.name for item in attr]
        return {item: _plain("", attr[item]) for item in names}
    if isinstance(attr, ir.ArrayAttr):
        return [_plain(name, item) for item in attr]
    if isinstance(attr, ir.DenseI64ArrayAttr):
        return list(attr)
    if isinstance(attr, ir.DenseBoolArrayAttr):
        return [int(item) for item in attr]
    if isinstance(attr, ir.DenseElementsAttr) and name in ("operand_layouts", "result_layouts"):
        return [int(i) for i in np.array(attr)]
    if isinstance(attr, ir.DenseElementsAttr) and name in ("padding", "source_target_pairs"):
        return [int(i) for i in np.array(attr).reshape(-1)]
    if isinstance(attr, ir.DenseElementsAttr):
        return _dense(attr)
    enumeration = re.fullmatch(r"#stablehlo<\w+ (\w+)>", text)
    if enumeration:
        return enumeration.group(1)
    raise TypeError(f"attribute {name} = {text}")


def _attributes(op):
    declared, discardable = {}, {}
    for item in op.attributes:
        name = item if isinstance(item, str) else item.name  # by version of the bindings
        try:
            attr = op.attributes[name]
        except TypeError:  # the bindings have no complex elements
            declared[name] = {"type": type_text(op.results[0].type)}
            continue
        if "." in name:
            discardable[name] = True
            continue
        struct = _STRUCTS.get(name)
        if name == "dimension_numbers":
            struct = _CONVOLUTION if "conv" in op.name else _GATHER
        if not struct:
            if name not in NOT_COMPARED and not str(attr).startswith("#stablehlo.replica_group_mesh_axes"):
                declared[name] = _plain(name, attr)
            continue
        value = getattr(stablehlo, struct[0])(attr)
        for part in struct[1].split():
            if part == "channel_type" and op.name not in ("stablehlo.send", "stablehlo.recv"):
                continue
            content = getattr(value, part)
            if isinstance(content, ir.Type):
                content = str(content) if name != "algorithm" else f"tensor<{content}>"
            declared[_RENAMED.get(part, part)] = list(content) if hasattr(content, "__len__") and not isinstance(
                content, str) else content  # fmt: skip
    return declared, discardable


class _Walk:
    def __init__(self):
        self.lines = []
        self.numbers = {}

    def number(self, value):
        return self.numbers.setdefault(value, len(self.numbers))

    def arguments(self, block):
        return [[self.number(value), type_text(value.type)] for value in block.arguments]

    def function(self, op):
        block = op.regions[0].blocks[0]
        type_ = ir.FunctionType(ir.TypeAttr(op.attributes["function_type"]).value)
        self.lines.append(
            {
                "func": ir.StringAttr(op.attributes["sym_name"]).value,
                "type": [[type_text(t) for t in type_.inputs], [type_text(t) for t in type_.results]],
                "args": self.arguments(block),
            }
        )
        self.block(block, 0)

    def block(self, block, depth):
        for view in block.operations:
            op = view.operation
            declared, discardable = _attributes(op)
            name = {"func.return": "stablehlo.return", "sdy.return": "stablehlo.return"}.get(op.name, op.name)
            operands = [self.number(value) for value in op.operands]
            results = [self.number(value) for value in op.results]
            regions = [self.arguments(region.blocks[0]) for region in op.regions]
            self.lines.append(
                {
                    "op": name,
                    "depth": depth,
                    "operands": operands,
                    "results": results,
                    "types": [type_text(value.type) for value in op.results],
                    "attrs": declared,
                    "discardable": discardable,
                    "regions": regions,
                }
            )
            for region in op.regions:
                self.block(region.blocks[0], depth + 1)


def read(artifact):
    """The functions and ops of an artifact, as jaxlib reads it."""
    from jax.interpreters import mlir as jax_mlir

    with jax_mlir.make_ir_context() as context:
        module = stablehlo.deserialize_portable_artifact(context, artifact)
        walks = []
        for view in module.body.operations:
            if view.operation.name == "func.func":
                walk = _Walk()
                walk.function(view.operation)
                walks.append(walk.lines)
        return walks
