// Control flow with and without captured values, calls, tokens, tuples, custom calls, random bits.
module @control attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32, jax.uses_shape_polymorphism = false} {
  func.func private @square(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.multiply %x, %x : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func public @main(%x: tensor<4xf32> {jax.buffer_donor = true, mhlo.memory_kind = "device"},
                         %p: tensor<i1> {mhlo.sharding = "{replicated}"}, %i: tensor<i32>,
                         %n: tensor<i32> {tf.aliasing_output = 1 : i32}, %state: tensor<2xui64>,
                         %scale: tensor<4xf32>, %offset: tensor<4xf32>, %act: tensor<2x4xf32>)
      -> (tensor<4xf32> {jax.result_info = "result['y']"}, tensor<i32>) {
    %0 = call @square(%x) : (tensor<4xf32>) -> tensor<4xf32>
    %1 = call @twice(%0) : (tensor<4xf32>) -> tensor<4xf32>
    %2 = "stablehlo.if"(%p) ({
      stablehlo.return %0 : tensor<4xf32>
    }, {
      %neg = stablehlo.negate %1 : tensor<4xf32>
      stablehlo.return %neg : tensor<4xf32>
    }) : (tensor<i1>) -> tensor<4xf32>
    %3:2 = "stablehlo.case"(%i) ({
      stablehlo.return %2, %i : tensor<4xf32>, tensor<i32>
    }, {
      stablehlo.return %1, %n : tensor<4xf32>, tensor<i32>
    }, {
      %c = stablehlo.constant dense<5> : tensor<i32>
      stablehlo.return %0, %c : tensor<4xf32>, tensor<i32>
    }) : (tensor<i32>) -> (tensor<4xf32>, tensor<i32>)
    %4:2 = stablehlo.while(%a = %3#0, %k = %i) : tensor<4xf32>, tensor<i32>
    cond {
      %lt = stablehlo.compare LT, %k, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %lt : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %k, %one : tensor<i32>
      %sorted = "stablehlo.sort"(%a) <{dimension = 0 : i64}> ({
      ^bb0(%l: tensor<f32>, %r: tensor<f32>):
        %c = stablehlo.compare LT, %l, %r : (tensor<f32>, tensor<f32>) -> tensor<i1>
        stablehlo.return %c : tensor<i1>
      }) : (tensor<4xf32>) -> tensor<4xf32>
      %sum = stablehlo.add %sorted, %x : tensor<4xf32>
      stablehlo.return %sum, %next : tensor<4xf32>, tensor<i32>
    }
    %5 = stablehlo.while(%k = %i) : tensor<i32>
    cond {
      %c10 = stablehlo.constant dense<10> : tensor<i32>
      %lt = stablehlo.compare LT, %k, %c10, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %lt : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %k, %one : tensor<i32>
      stablehlo.return %next : tensor<i32>
    }
    %6:2 = stablehlo.optimization_barrier %4#0, %5 : tensor<4xf32>, tensor<i32>
    %token = stablehlo.create_token : !stablehlo.token
    %token2 = stablehlo.after_all %token, %token : !stablehlo.token
    %in:2 = "stablehlo.infeed"(%token2) <{infeed_config = "cfg", layout = [[0]]}> : (!stablehlo.token) -> (tensor<4xf32>, !stablehlo.token)
    %outfeed = "stablehlo.outfeed"(%in#0, %in#1) <{outfeed_config = ""}> : (tensor<4xf32>, !stablehlo.token) -> !stablehlo.token
    %tuple = stablehlo.tuple %6#0, %6#1 : tuple<tensor<4xf32>, tensor<i32>>
    %first = stablehlo.get_tuple_element %tuple[0] : (tuple<tensor<4xf32>, tensor<i32>>) -> tensor<4xf32>
    %new, %bits = stablehlo.rng_bit_generator %state, algorithm = THREE_FRY : (tensor<2xui64>) -> (tensor<2xui64>, tensor<4xui32>)
    %lo = stablehlo.constant dense<0.0> : tensor<f32>
    %hi = stablehlo.constant dense<1.0> : tensor<f32>
    %dims = stablehlo.constant dense<4> : tensor<1xi64>
    %rng = stablehlo.rng %lo, %hi, %dims, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<4xf32>
    %bnt:3 = "stablehlo.batch_norm_training"(%act, %scale, %offset) <{epsilon = 1.0e-3 : f32, feature_index = 1 : i64}> : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>)
    %bni = "stablehlo.batch_norm_inference"(%act, %scale, %offset, %bnt#1, %bnt#2) <{epsilon = 1.0e-3 : f32, feature_index = 1 : i64}> : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    %bng:3 = "stablehlo.batch_norm_grad"(%act, %scale, %bnt#1, %bnt#2, %bni) <{epsilon = 1.0e-3 : f32, feature_index = 1 : i64}> : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>)
    %cc = stablehlo.custom_call @target(%first, %rng) {api_version = 2 : i32, backend_config = "opaque", called_computations = [@square], has_side_effect = true, mhlo.frontend_attributes = {key = "value"}, operand_layouts = [dense<0> : tensor<1xindex>, dense<0> : tensor<1xindex>], output_operand_aliases = [#stablehlo.output_operand_alias<output_tuple_indices = [], operand_index = 0, operand_tuple_indices = []>], result_layouts = [dense<0> : tensor<1xindex>]} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    return %cc, %6#1 : tensor<4xf32>, tensor<i32>
  }
  func.func private @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.add %x, %x : tensor<4xf32>
    %1 = call @square(%0) : (tensor<4xf32>) -> tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}
