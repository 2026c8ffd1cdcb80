"""Programs given as StableHLO text, for what JAX cannot be made to emit."""

import jax
import numpy as np
from jax._src import compiler
from jax.interpreters import mlir
from jaxlib import xla_client
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo


def compile_text(text, platform="mps"):
    device = jax.devices(platform)[0]
    options = xla_client.CompileOptions()
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        module.operation.attributes["sym_name"] = ir.StringAttr.get("program")
        if hasattr(compiler, "backend_compile_and_load"):
            devices = xla_client.DeviceList((device,))
            return compiler.backend_compile_and_load(device.client, module, devices, options, [])
        return compiler.backend_compile(device.client, module, options, [])


def run_text(text, *arguments, platform="mps"):
    device = jax.devices(platform)[0]
    placed = [jax.device_put(np.array(a), device) for a in arguments]
    results = compile_text(text, platform).execute_sharded(placed)
    return [np.asarray(r[0]) for r in results.disassemble_into_single_device_arrays()]


def interpret_text(text, *arguments):
    """The results of the StableHLO interpreter."""
    with mlir.make_ir_context():
        values = [ir.DenseElementsAttr.get(np.ascontiguousarray(a)) for a in arguments]
        return [np.array(r) for r in stablehlo.eval_module(ir.Module.parse(text), values)]
