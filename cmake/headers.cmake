# Precompiled headers: the standard library and MLX are most of what a compiler reads here. They are
# off in ordinary builds, so that a file which forgets an include is found. A folder can use those of
# another only if it is compiled with the same flags.
function(precompile_headers)
  set(standard <algorithm> <array> <atomic> <complex> <functional> <map> <memory> <mutex> <optional>
    <sstream> <string> <string_view> <unordered_map> <utility> <variant> <vector>)
  target_precompile_headers(jaxmps_base PRIVATE ${standard})
  foreach(name IN ITEMS ir bytecode passes)
    target_precompile_headers(jaxmps_${name} REUSE_FROM jaxmps_base)
  endforeach()
  if(NOT JAXMPS_CORE_ONLY)
    target_precompile_headers(jaxmps_ops PRIVATE ${standard} <mlx/mlx.h>)
    foreach(name IN ITEMS exec pjrt)
      target_precompile_headers(jaxmps_${name} REUSE_FROM jaxmps_ops)
    endforeach()
  endif()
endfunction()
