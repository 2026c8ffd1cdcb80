"""Programs that are refused as a whole, by the text: one row per reason."""

import pytest
from stablehlo_text import compile_text

IDENTITY = """module {more}{{
  func.func public @main(%x: tensor<{type}>{attributes}) -> tensor<{type}> {{ return %x : tensor<{type}> }}
}}"""


def identity(type="2x2xf32", attributes="", more=""):
    return IDENTITY.format(type=type, attributes=f" {{{attributes}}}" if attributes else "", more=more)


@pytest.mark.parametrize(
    "text, says",
    [
        (identity("?xf32"), "parameter 0 of program is f32[?]; only tensors of known shape can cross the program's border"),
        (identity("3000000000xf32"), "parameter 0 of program is f32[3000000000]; a dimension can be at most 2147483647"),
        (identity(attributes='mhlo.layout_mode = "{0,1}"'), "parameter 0: layout {0,1}; arrays are row-major here"),
        (identity(attributes='mhlo.memory_kind = "attic"'), "parameter 0: memory kind \"attic\" does not exist"),
        (
            identity(more="attributes {mhlo.num_replicas = 2 : i32} "),
            "program is a program for 2 devices; programs for several devices are not supported yet",
        ),
    ],
)
def test_what_is_said(text, says):
    with pytest.raises(Exception) as caught:
        compile_text(text)
    assert says in str(caught.value)
