// Calls of a program that cannot be: each is refused with its reason.
#include "bytecode/artifact_builder.h"
#include "pjrt/abi.h"
#include "pjrt/support.h"

namespace jaxmps::pjrt::test {
namespace {

// f32[2] -> f32[2], the sum of its argument with itself.
class Calling : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto bytes = bytecode::testing::Artifact().bytes();
    ASSERT_TRUE(compile(std::string(bytes.begin(), bytes.end()), &executable_).ok());
    options_.struct_size = sizeof(options_);
    call_.executable = executable_;
    call_.options = &options_;
    call_.argument_lists = &inputs_;
    call_.output_lists = &outputs_;
    call_.num_devices = 1;
    call_.num_args = 1;
  }
  void TearDown() override {
    PJRT_LoadedExecutable_Destroy_Args args{};
    args.executable = executable_;
    must(api()->PJRT_LoadedExecutable_Destroy, args);
  }
  Outcome run() { return call(api()->PJRT_LoadedExecutable_Execute, call_); }

  PJRT_LoadedExecutable* executable_ = nullptr;
  PJRT_ExecuteOptions options_{};
  PJRT_Buffer* arguments_[1] = {};
  PJRT_Buffer* results_[1] = {};
  PJRT_Buffer* const* inputs_ = arguments_;
  PJRT_Buffer** outputs_ = results_;
  PJRT_LoadedExecutable_Execute_Args call_{};
};

TEST_F(Calling, ArgumentsMustFit) {
  EXPECT_FAILS(run(), INVALID_ARGUMENT, "Execute: argument 0 is null");
  Handle right = upload<float>({1, 2}, {2}), wrong = upload<int32_t>({1, 2}, {2});
  arguments_[0] = wrong.get();
  EXPECT_FAILS(run(), INVALID_ARGUMENT,
               "argument 0 of main is s32[2], but the program was compiled for f32[2]");
  call_.num_args = 0;
  EXPECT_FAILS(run(), INVALID_ARGUMENT, "main takes 1 arguments, but 0 were given");
  call_.num_args = 1;
  arguments_[0] = right.get();
  call_.num_devices = 2;
  EXPECT_FAILS(run(), INVALID_ARGUMENT,
               "Execute: argument lists for 2 devices; the program runs on 1");
  call_.num_devices = 1;
  PJRT_SendCallbackInfo* lists[1] = {};
  options_.num_send_ops = 1;
  options_.send_callbacks = lists;
  EXPECT_FAILS(run(), UNIMPLEMENTED, "Execute: send and receive callbacks");
  options_.num_send_ops = 0;
  ASSERT_TRUE(run().ok());
  EXPECT_EQ(download<float>(Handle(results_[0]).get()), (std::vector<float>{2, 4}));
  PJRT_LoadedExecutable_Delete_Args gone{};
  gone.executable = executable_;
  must(api()->PJRT_LoadedExecutable_Delete, gone);
  EXPECT_FAILS(run(), INVALID_ARGUMENT, "Execute: the executable has been deleted");
  PJRT_LoadedExecutable_GetExecutable_Args get{};
  get.loaded_executable = executable_;
  EXPECT_FAILS(call(api()->PJRT_LoadedExecutable_GetExecutable, get), INVALID_ARGUMENT,
               "the executable has been deleted");
}

// A call does not wait for what the client gives only behind it.
TEST_F(Calling, AnArgumentMayBeGivenLater) {
  const int64_t dims[1] = {2};
  PJRT_Client_CreateAliasBuffer_Args make{};
  make.client = client();
  make.memory = memory();
  make.shape_dims = dims;
  make.shape_num_dims = 1;
  make.shape_element_type = PJRT_Buffer_Type_F32;
  must(api()->PJRT_Client_CreateAliasBuffer, make);
  Handle later(make.alias_buffer);
  arguments_[0] = later.get();
  ASSERT_TRUE(run().ok());
  Handle result(results_[0]);
  Handle given = upload<float>({3, 4}, {2});
  PJRT_Client_FulfillAliasBuffer_Args fulfill{};
  fulfill.client = client();
  fulfill.buffer = given.get();
  fulfill.status_code = PJRT_Error_Code_OK;
  fulfill.fulfill_alias_buffer_cb = make.fulfill_alias_buffer_cb;
  must(api()->PJRT_Client_FulfillAliasBuffer, fulfill);
  EXPECT_EQ(download<float>(result.get()), (std::vector<float>{6, 8}));
}

TEST_F(Calling, TheProgramGoesWhereThereIsRoom) {
  PJRT_LoadedExecutable_GetExecutable_Args get{};
  get.loaded_executable = executable_;
  must(api()->PJRT_LoadedExecutable_GetExecutable, get);
  PJRT_Program program{};
  PJRT_Executable_OptimizedProgram_Args args{};
  args.executable = get.executable;
  args.program = &program;
  EXPECT_FAILS(call(api()->PJRT_Executable_OptimizedProgram, args), INVALID_ARGUMENT,
               "PJRT_Executable_OptimizedProgram: the PJRT_Program struct is too small");
  program.struct_size = sizeof(program);
  char room[1];
  program.code = room;
  program.code_size = 1;
  EXPECT_FAILS(call(api()->PJRT_Executable_OptimizedProgram, args), INVALID_ARGUMENT,
               "the destination has 1 bytes, the program ");
  PJRT_Executable_Destroy_Args destroy{};
  destroy.executable = get.executable;
  must(api()->PJRT_Executable_Destroy, destroy);
}

}  // namespace
}  // namespace jaxmps::pjrt::test
