#include <atomic>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "pjrt/device.h"
#include "pjrt/support.h"
#include "support/null_gpu.h"

namespace jaxmps::pjrt::test {
namespace {

std::vector<float> counting(size_t size) {
  std::vector<float> out(size);
  std::iota(out.begin(), out.end(), 0.0f);
  return out;
}

bool is_deleted(PJRT_Buffer* buffer) {
  PJRT_Buffer_IsDeleted_Args args{};
  args.buffer = buffer;
  must(api()->PJRT_Buffer_IsDeleted, args);
  return args.is_deleted;
}

void delete_storage(PJRT_Buffer* buffer) {
  PJRT_Buffer_Delete_Args args{};
  args.buffer = buffer;
  must(api()->PJRT_Buffer_Delete, args);
}

void* pointer(PJRT_Buffer* buffer) {
  PJRT_Buffer_OpaqueDeviceMemoryDataPointer_Args args{};
  args.buffer = buffer;
  must(api()->PJRT_Buffer_OpaqueDeviceMemoryDataPointer, args);
  return args.device_memory_ptr;
}

Outcome readiness(PJRT_Buffer* buffer) {
  PJRT_Buffer_ReadyEvent_Args args{};
  args.buffer = buffer;
  must(api()->PJRT_Buffer_ReadyEvent, args);
  return await(args.event);
}

TEST(PjrtBuffer, KeepsShapeTypeAndPlace) {
  Handle buffer = upload<float>(counting(6), {2, 3});
  PJRT_Buffer_Dimensions_Args dims{};
  dims.buffer = buffer.get();
  must(api()->PJRT_Buffer_Dimensions, dims);
  EXPECT_EQ(std::vector<int64_t>(dims.dims, dims.dims + dims.num_dims),
            (std::vector<int64_t>{2, 3}));
  PJRT_Buffer_ElementType_Args type{};
  type.buffer = buffer.get();
  must(api()->PJRT_Buffer_ElementType, type);
  EXPECT_EQ(type.type, PJRT_Buffer_Type_F32);
  PJRT_Buffer_Device_Args on{};
  on.buffer = buffer.get();
  must(api()->PJRT_Buffer_Device, on);
  EXPECT_EQ(on.device, device());
  PJRT_Buffer_GetMemoryLayout_Args layout{};
  layout.buffer = buffer.get();
  must(api()->PJRT_Buffer_GetMemoryLayout, layout);
  ASSERT_EQ(layout.layout.tiled.minor_to_major_size, 2u);
  EXPECT_EQ(layout.layout.tiled.minor_to_major[0], 1);
  EXPECT_EQ(layout.layout.tiled.minor_to_major[1], 0);
  EXPECT_EQ(download<float>(buffer.get()), counting(6));
}

TEST(PjrtBuffer, ReadsAnyStrides) {
  const auto data = counting(24);  // 4 × 6 in memory
  struct Case {
    std::vector<int64_t> dims, strides;
    int64_t start;
    std::vector<float> expected;
  };
  const Case cases[] = {
      {{2, 3}, {24, 4}, 0, {0, 1, 2, 6, 7, 8}},    // rows of a wider array
      {{3, 2}, {4, 24}, 0, {0, 6, 1, 7, 2, 8}},    // transposed
      {{2, 3}, {-24, -4}, 8, {8, 7, 6, 2, 1, 0}},  // reversed
      {{3, 2}, {0, 4}, 4, {4, 5, 4, 5, 4, 5}},     // broadcast
      {{0, 3}, {12, 4}, 0, {}},                    // nothing
      {{}, {}, 5, {5}},                            // a scalar
      {{1, 4}, {-999, 8}, 1, {1, 3, 5, 7}},        // stride of a dimension of one
  };
  for (const Case& c : cases) {
    auto args = host_args(data.data() + c.start, PJRT_Buffer_Type_F32, c.dims);
    args.byte_strides = c.strides.data();
    args.num_byte_strides = c.strides.size();
    must(api()->PJRT_Client_BufferFromHostBuffer, args);
    EXPECT_TRUE(await(args.done_with_host_buffer).ok());
    Handle buffer(args.buffer);
    EXPECT_EQ(download<float>(buffer.get()), c.expected);
  }
}

TEST(PjrtBuffer, EveryElementTypeTravels) {
  for (int type = 1; type <= 33; ++type) {
    auto kind = static_cast<PJRT_Buffer_Type>(type);
    if (kind == PJRT_Buffer_Type_TOKEN || kind == PJRT_Buffer_Type_S1 ||
        kind == PJRT_Buffer_Type_U1) {
      continue;
    }
    std::vector<uint8_t> bytes(3 * 16);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i % 2;
    const std::vector<int64_t> dims{3};
    auto args = host_args(bytes.data(), kind, dims);
    must(api()->PJRT_Client_BufferFromHostBuffer, args);
    EXPECT_TRUE(await(args.done_with_host_buffer).ok());
    Handle buffer(args.buffer);
    auto back = download<uint8_t>(buffer.get());
    ASSERT_GE(back.size(), 3u) << type;
    bytes.resize(back.size());
    EXPECT_EQ(back, bytes) << type;
  }
  const std::vector<int64_t> dims{3};
  for (int bad : {0, 34, -1, static_cast<int>(PJRT_Buffer_Type_TOKEN)}) {
    auto args = host_args("", static_cast<PJRT_Buffer_Type>(bad), dims);
    EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), INVALID_ARGUMENT,
                 "is no type of an array");
  }
}

TEST(PjrtBuffer, BadArgumentsAreNamed) {
  const auto data = counting(6);
  const std::vector<int64_t> dims{2, 3}, huge{1 << 30, 1 << 30}, negative{-1}, strides{4};
  auto args = host_args(data.data(), PJRT_Buffer_Type_F32, dims);
  args.memory = nullptr;
  EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), INVALID_ARGUMENT,
               "neither a memory nor a device");
  args.device = device();
  args.byte_strides = strides.data();
  args.num_byte_strides = 1;
  EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), INVALID_ARGUMENT,
               "1 byte strides for an array of rank 2");
  args = host_args(data.data(), PJRT_Buffer_Type_F32, huge);
  EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), RESOURCE_EXHAUSTED,
               "dimensions [1073741824, 1073741824]: the array exceeds");
  args = host_args(data.data(), PJRT_Buffer_Type_F32, negative);
  EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), INVALID_ARGUMENT,
               "dimensions [-1]: each must be from 0 to");
  args = host_args(nullptr, PJRT_Buffer_Type_F32, dims);
  EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), INVALID_ARGUMENT,
               "argument `data` is null");
  args = host_args(data.data(), PJRT_Buffer_Type_F32, dims);
  args.host_buffer_semantics = static_cast<PJRT_HostBufferSemantics>(4);
  EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), INVALID_ARGUMENT,
               "host buffer semantics 4 do not exist");
  args = host_args(data.data(), PJRT_Buffer_Type_F32, dims);
  args.dims = nullptr;
  EXPECT_FAILS(call(api()->PJRT_Client_BufferFromHostBuffer, args), INVALID_ARGUMENT,
               "dims is null, the rank is 2");
}

// More than the machine has: an error at once, not a process killed later.
TEST(PjrtBuffer, OutOfMemoryIsAnError) {
  const std::vector<int64_t> dims{1 << 14, 1 << 14, 1 << 14};  // 16 TiB
  PJRT_Client_CreateUninitializedBuffer_Args args{};
  args.client = client();
  args.shape_dims = dims.data();
  args.shape_num_dims = dims.size();
  args.shape_element_type = PJRT_Buffer_Type_F32;
  args.memory = memory();
  EXPECT_FAILS(call(api()->PJRT_Client_CreateUninitializedBuffer, args), RESOURCE_EXHAUSTED,
               "out of memory: f32[16384,16384,16384] needs 17592186044416 bytes, ");
  EXPECT_EQ(download<float>(upload<float>(counting(3), {3}).get()), counting(3));
}

struct Aligned {
  explicit Aligned(size_t floats)
      : data(static_cast<float*>(std::aligned_alloc(64, floats * sizeof(float)))) {
    std::iota(data, data + floats, 0.0f);
  }
  ~Aligned() { std::free(data); }
  float* data;
};

TEST(PjrtBuffer, ZeroCopyAliasesUntilTheBufferDies) {
  const std::vector<int64_t> dims{1 << 16};
  Aligned host(1 << 16);
  auto args = host_args(host.data, PJRT_Buffer_Type_F32, dims);
  args.host_buffer_semantics = PJRT_HostBufferSemantics_kImmutableZeroCopy;
  must(api()->PJRT_Client_BufferFromHostBuffer, args);
  PJRT_Event_IsReady_Args done{};
  done.event = args.done_with_host_buffer;
  must(api()->PJRT_Event_IsReady, done);
  EXPECT_FALSE(done.is_ready);
  EXPECT_EQ(pointer(args.buffer), host.data);
  { Handle gone(args.buffer); }
  EXPECT_TRUE(await(args.done_with_host_buffer).ok());
}

// What is made of a zero-copy buffer has memory of its own: the client may write the old one.
TEST(PjrtBuffer, CopiesAndCastsOfZeroCopyBuffersOwnTheirMemory) {
  const std::vector<int64_t> dims{1 << 16};
  for (const bool casts : {false, true}) {
    Aligned host(1 << 16);
    auto args = host_args(host.data, PJRT_Buffer_Type_F32, dims);
    args.host_buffer_semantics = PJRT_HostBufferSemantics_kImmutableZeroCopy;
    must(api()->PJRT_Client_BufferFromHostBuffer, args);
    Handle source(args.buffer), made;
    if (casts) {
      PJRT_Buffer_Bitcast_Args cast{};
      cast.buffer = source.get();
      cast.element_type = PJRT_Buffer_Type_S32;
      cast.dims = dims.data();
      cast.num_dims = 1;
      must(api()->PJRT_Buffer_Bitcast, cast);
      made = Handle(cast.out_buffer);
    } else {
      PJRT_Buffer_CopyToMemory_Args copy{};
      copy.buffer = source.get();
      copy.dst_memory = memory();
      must(api()->PJRT_Buffer_CopyToMemory, copy);
      made = Handle(copy.dst_buffer);
    }
    EXPECT_TRUE(await(args.done_with_host_buffer).ok());
    host.data[5] = -1;
    EXPECT_EQ(static_cast<float*>(pointer(made.get()))[5], 5.0f);
    EXPECT_EQ(pointer(source.get()), pointer(made.get()));
  }
}

TEST(PjrtBuffer, CopiesWhereItMustOrShould) {
  Aligned host(1 << 16);
  struct Case {
    PJRT_HostBufferSemantics semantics;
    int64_t size, offset;
  };
  const Case cases[] = {
      {PJRT_HostBufferSemantics_kImmutableOnlyDuringCall, 1 << 16, 0},
      {PJRT_HostBufferSemantics_kImmutableUntilTransferCompletes, 1 << 16, 0},
      {PJRT_HostBufferSemantics_kImmutableZeroCopy, 16, 0},             // small
      {PJRT_HostBufferSemantics_kImmutableZeroCopy, (1 << 16) - 1, 1},  // not aligned
  };
  for (const Case& c : cases) {
    const std::vector<int64_t> dims{c.size};
    auto args = host_args(host.data + c.offset, PJRT_Buffer_Type_F32, dims);
    args.host_buffer_semantics = c.semantics;
    must(api()->PJRT_Client_BufferFromHostBuffer, args);
    EXPECT_TRUE(await(args.done_with_host_buffer).ok());
    EXPECT_NE(pointer(args.buffer), host.data + c.offset);
    Handle gone(args.buffer);
  }
}

TEST(PjrtBuffer, DeletedBuffersAnswerQuestionsButGiveNoData) {
  Handle buffer = upload<float>(counting(4), {4});
  EXPECT_FALSE(is_deleted(buffer.get()));
  delete_storage(buffer.get());
  delete_storage(buffer.get());
  EXPECT_TRUE(is_deleted(buffer.get()));
  PJRT_Buffer_Dimensions_Args dims{};
  dims.buffer = buffer.get();
  must(api()->PJRT_Buffer_Dimensions, dims);
  EXPECT_EQ(dims.dims[0], 4);
  char out[64];
  PJRT_Buffer_ToHostBuffer_Args read{};
  read.src = buffer.get();
  read.dst = out;
  read.dst_size = sizeof(out);
  EXPECT_FAILS(call(api()->PJRT_Buffer_ToHostBuffer, read), INVALID_ARGUMENT, "deleted");
  PJRT_Buffer_CopyToMemory_Args copy{};
  copy.buffer = buffer.get();
  copy.dst_memory = memory();
  EXPECT_FAILS(call(api()->PJRT_Buffer_CopyToMemory, copy), INVALID_ARGUMENT, "deleted");
  EXPECT_FAILS(readiness(buffer.get()), INVALID_ARGUMENT, "deleted");
}

TEST(PjrtBuffer, ExternalReferencesKeepTheStorage) {
  Handle buffer = upload<float>(counting(4), {4});
  PJRT_Buffer_IncreaseExternalReferenceCount_Args more{};
  more.buffer = buffer.get();
  must(api()->PJRT_Buffer_IncreaseExternalReferenceCount, more);
  const auto* data = static_cast<const float*>(pointer(buffer.get()));
  delete_storage(buffer.get());
  upload<float>(std::vector<float>(4, -1.0f), {4});  // would take the freed block
  EXPECT_EQ(data[3], 3.0f);
  PJRT_Buffer_DecreaseExternalReferenceCount_Args less{};
  less.buffer = buffer.get();
  must(api()->PJRT_Buffer_DecreaseExternalReferenceCount, less);
  EXPECT_FAILS(call(api()->PJRT_Buffer_DecreaseExternalReferenceCount, less), FAILED_PRECONDITION,
               "the buffer has no external references to give up");
}

TEST(PjrtBuffer, HostLayoutsAndRawCopies) {
  Handle buffer = upload<float>(counting(6), {2, 3});
  const int64_t order[] = {0, 1};
  PJRT_Buffer_MemoryLayout layout{};
  layout.struct_size = sizeof(layout);
  layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
  layout.tiled = {sizeof(layout.tiled), nullptr, order, 2, nullptr, nullptr, 0};
  EXPECT_EQ(download<float>(buffer.get(), &layout), (std::vector<float>{0, 3, 1, 4, 2, 5}));

  float two[2];
  PJRT_Buffer_CopyRawToHost_Args raw{};
  raw.buffer = buffer.get();
  raw.dst = two;
  raw.offset = 8;
  raw.transfer_size = 8;
  must(api()->PJRT_Buffer_CopyRawToHost, raw);
  EXPECT_TRUE(await(raw.event).ok());
  EXPECT_EQ(two[0], 2.0f);
  raw.offset = 20;
  EXPECT_FAILS(call(api()->PJRT_Buffer_CopyRawToHost, raw), INVALID_ARGUMENT,
               "a transfer of 8 bytes from byte 20 does not fit a buffer of 24 bytes");

  PJRT_Buffer_CopyRawToHostFuture_Args later{};
  later.buffer = buffer.get();
  later.transfer_size = 8;
  must(api()->PJRT_Buffer_CopyRawToHostFuture, later);
  delete_storage(buffer.get());
  PJRT_Buffer_CopyRawToHostFuture_Callback_Args ready{};
  ready.struct_size = sizeof(ready);
  ready.callback_data = later.callback_data;
  ready.dst = two;
  later.future_ready_callback(&ready);
  EXPECT_TRUE(await(later.event).ok());
  EXPECT_EQ(two[1], 1.0f);

  PJRT_Buffer_ToHostBuffer_Args small{};
  Handle other = upload<float>(counting(6), {6});
  small.src = other.get();
  small.dst = two;
  small.dst_size = sizeof(two);
  EXPECT_FAILS(call(api()->PJRT_Buffer_ToHostBuffer, small), INVALID_ARGUMENT,
               "the destination has 8 bytes, the buffer 24");
}

TEST(PjrtBuffer, MovesBetweenMemoryKinds) {
  Handle buffer = upload<float>(counting(6), {6});
  PJRT_Buffer_CopyToMemory_Args copy{};
  copy.buffer = buffer.get();
  copy.dst_memory = memory(1);
  must(api()->PJRT_Buffer_CopyToMemory, copy);
  Handle moved(copy.dst_buffer);
  PJRT_Buffer_Memory_Args where{};
  where.buffer = moved.get();
  must(api()->PJRT_Buffer_Memory, where);
  EXPECT_EQ(where.memory, memory(1));
  PJRT_Buffer_CopyToDevice_Args nowhere{};
  nowhere.buffer = buffer.get();
  nowhere.dst_device = device();
  EXPECT_FAILS(call(api()->PJRT_Buffer_CopyToDevice, nowhere), INVALID_ARGUMENT,
               "the buffer is on the destination device already");
  delete_storage(buffer.get());
  EXPECT_EQ(download<float>(moved.get()), counting(6));
}

TEST(PjrtBuffer, BitcastKeepsTheBytes) {
  Handle buffer = upload<int32_t>({0x04030201, 0x08070605}, {2});
  const std::vector<int64_t> dims{2, 4}, wrong{3};
  PJRT_Buffer_Bitcast_Args cast{};
  cast.buffer = buffer.get();
  cast.element_type = PJRT_Buffer_Type_U8;
  cast.dims = dims.data();
  cast.num_dims = 2;
  must(api()->PJRT_Buffer_Bitcast, cast);
  Handle view(cast.out_buffer);
  EXPECT_EQ(download<uint8_t>(view.get()), (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8}));
  cast.dims = wrong.data();
  cast.num_dims = 1;
  EXPECT_FAILS(call(api()->PJRT_Buffer_Bitcast, cast), INVALID_ARGUMENT,
               "a bitcast of s32[2] to u8[3] would change the number of bytes");
}

TEST(PjrtBuffer, ErrorBuffersCarryTheirError) {
  const std::vector<int64_t> dims{2};
  const std::string text = "lost on the way";
  PJRT_Client_CreateErrorBuffer_Args args{};
  args.client = client();
  args.error_code = PJRT_Error_Code_UNAVAILABLE;
  args.error_message = text.data();
  args.error_message_size = text.size();
  args.shape_dims = dims.data();
  args.shape_num_dims = 1;
  args.shape_element_type = PJRT_Buffer_Type_F32;
  args.memory = memory();
  must(api()->PJRT_Client_CreateErrorBuffer, args);
  Handle buffer(args.buffer);
  EXPECT_FAILS(readiness(buffer.get()), UNAVAILABLE, text);
  float out[2];
  PJRT_Buffer_ToHostBuffer_Args read{};
  read.src = buffer.get();
  read.dst = out;
  read.dst_size = sizeof(out);
  must(api()->PJRT_Buffer_ToHostBuffer, read);
  EXPECT_FAILS(await(read.event), UNAVAILABLE, text);
}

TEST(PjrtBuffer, ViewsAreReleased) {
  Aligned host(16);
  const std::vector<int64_t> dims{16};
  std::atomic<int> released{0};
  PJRT_Client_CreateViewOfDeviceBuffer_Args args{};
  args.client = client();
  args.device_buffer_ptr = host.data;
  args.dims = dims.data();
  args.num_dims = 1;
  args.element_type = PJRT_Buffer_Type_F32;
  args.device = device();
  args.on_delete_callback = [](void*, void* user) { ++*static_cast<std::atomic<int>*>(user); };
  args.on_delete_callback_arg = &released;
  must(api()->PJRT_Client_CreateViewOfDeviceBuffer, args);
  {
    Handle view(args.buffer);
    host.data[2] = 99;
    EXPECT_EQ(download<float>(view.get())[2], 99.0f);
    EXPECT_EQ(released.load(), 0);
  }
  for (int i = 0; i < 1000 && released.load() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(released.load(), 1);
  args.device_buffer_ptr = host.data + 1;
  EXPECT_FAILS(call(api()->PJRT_Client_CreateViewOfDeviceBuffer, args), INVALID_ARGUMENT,
               "a view needs other memory: this is not aligned to 16 bytes");
  args.device_buffer_ptr = host.data;
  const int64_t matrix[] = {4, 4}, columns[] = {0, 1};
  PJRT_Buffer_MemoryLayout layout{};
  layout.struct_size = sizeof(layout);
  layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
  layout.tiled = {sizeof(layout.tiled), nullptr, columns, 2, nullptr, nullptr, 0};
  args.layout = &layout;
  args.dims = matrix;
  args.num_dims = 2;
  EXPECT_FAILS(call(api()->PJRT_Client_CreateViewOfDeviceBuffer, args), INVALID_ARGUMENT,
               "a view in layout {0,1}; views must be row-major");
  args.layout = nullptr;
  const testing::NullGpuScope gpu(ir::kMetal, kernels::metal_dialect());
  static auto* const metal = new exec::Device(93, ir::kMetal);  // devices end with the process
  PJRT_Device on_gpu(client(), device()->description, metal);
  args.device = &on_gpu;
  EXPECT_FAILS(call(api()->PJRT_Client_CreateViewOfDeviceBuffer, args), UNIMPLEMENTED,
               "views of foreign memory exist on the CPU device only");
}

TEST(PjrtBuffer, AliasBuffersAreFulfilledLater) {
  const std::vector<int64_t> dims{3};
  PJRT_Client_CreateAliasBuffer_Args make{};
  make.client = client();
  make.memory = memory();
  make.shape_dims = dims.data();
  make.shape_num_dims = 1;
  make.shape_element_type = PJRT_Buffer_Type_F32;
  must(api()->PJRT_Client_CreateAliasBuffer, make);
  Handle alias(make.alias_buffer);
  Handle source = upload<float>(counting(3), {3});
  PJRT_Client_FulfillAliasBuffer_Args fulfill{};
  fulfill.client = client();
  fulfill.buffer = source.get();
  fulfill.fulfill_alias_buffer_cb = make.fulfill_alias_buffer_cb;
  must(api()->PJRT_Client_FulfillAliasBuffer, fulfill);
  EXPECT_TRUE(readiness(alias.get()).ok());
  EXPECT_EQ(download<float>(alias.get()), counting(3));
  must(api()->PJRT_Client_CreateAliasBuffer, make);
  Handle lost(make.alias_buffer);
  fulfill.buffer = nullptr;
  fulfill.fulfill_alias_buffer_cb = make.fulfill_alias_buffer_cb;
  EXPECT_FAILS(call(api()->PJRT_Client_FulfillAliasBuffer, fulfill), INVALID_ARGUMENT,
               "argument `buffer` is null");
  EXPECT_FAILS(readiness(lost.get()), INVALID_ARGUMENT, "argument `buffer` is null");
}

class Transfers : public ::testing::Test {
 protected:
  void SetUp() override {
    specs_[0] = {sizeof(PJRT_ShapeSpec), nullptr, dims_, 2, PJRT_Buffer_Type_F32};
    specs_[1] = {sizeof(PJRT_ShapeSpec), nullptr, dims_, 1, PJRT_Buffer_Type_S32};
    PJRT_Client_CreateBuffersForAsyncHostToDevice_Args args{};
    args.client = client();
    args.shape_specs = specs_;
    args.num_shape_specs = 2;
    args.memory = memory();
    must(api()->PJRT_Client_CreateBuffersForAsyncHostToDevice, args);
    manager_ = args.transfer_manager;
  }
  void TearDown() override { destroy(); }
  void destroy() {
    if (!manager_) return;
    PJRT_AsyncHostToDeviceTransferManager_Destroy_Args args{};
    args.transfer_manager = std::exchange(manager_, nullptr);
    must(api()->PJRT_AsyncHostToDeviceTransferManager_Destroy, args);
  }
  Handle retrieve(int index) {
    PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args args{};
    args.transfer_manager = manager_;
    args.buffer_index = index;
    must(api()->PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer, args);
    return Handle(args.buffer_out);
  }
  Outcome transfer(int index, const void* data, int64_t offset, int64_t size, bool last) {
    PJRT_AsyncHostToDeviceTransferManager_TransferData_Args args{};
    args.transfer_manager = manager_;
    args.buffer_index = index;
    args.data = data;
    args.offset = offset;
    args.transfer_size = size;
    args.is_last_transfer = last;
    Outcome outcome = call(api()->PJRT_AsyncHostToDeviceTransferManager_TransferData, args);
    if (outcome.ok()) {
      EXPECT_TRUE(await(args.done_with_h2d_transfer).ok());
    }
    return outcome;
  }

  const int64_t dims_[2] = {2, 3};
  PJRT_ShapeSpec specs_[2];
  PJRT_AsyncHostToDeviceTransferManager* manager_ = nullptr;
};

TEST_F(Transfers, PieceByPiece) {
  Handle buffer = retrieve(0);
  const auto data = counting(6);
  EXPECT_TRUE(transfer(0, data.data() + 2, 8, 16, false).ok());
  EXPECT_TRUE(transfer(0, data.data(), 0, 8, true).ok());
  EXPECT_TRUE(readiness(buffer.get()).ok());
  EXPECT_EQ(download<float>(buffer.get()), data);
  EXPECT_FAILS(transfer(0, data.data(), 0, 8, true), FAILED_PRECONDITION,
               "buffer 0 takes no more transfers");
  EXPECT_FAILS(transfer(1, data.data(), 4, 8, true), INVALID_ARGUMENT,
               "a transfer of 8 bytes to byte 4 does not fit a buffer of 8 bytes");
  EXPECT_FAILS(transfer(2, data.data(), 0, 8, true), INVALID_ARGUMENT,
               "there is no buffer 2; the transfer manager has 2");
}

TEST_F(Transfers, LiteralsAndErrors) {
  const int64_t order[] = {0, 1};
  PJRT_Buffer_MemoryLayout layout{};
  layout.struct_size = sizeof(layout);
  layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
  layout.tiled = {sizeof(layout.tiled), nullptr, order, 2, nullptr, nullptr, 0};
  const std::vector<float> columns{0, 3, 1, 4, 2, 5};
  PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args args{};
  args.transfer_manager = manager_;
  args.data = columns.data();
  args.shape_dims = dims_;
  args.shape_num_dims = 2;
  args.shape_element_type = PJRT_Buffer_Type_S32;
  EXPECT_FAILS(call(api()->PJRT_AsyncHostToDeviceTransferManager_TransferLiteral, args),
               INVALID_ARGUMENT, "buffer 0 is f32[2,3], the literal is s32[2,3]");
  args.shape_element_type = PJRT_Buffer_Type_F32;
  args.shape_layout = &layout;
  must(api()->PJRT_AsyncHostToDeviceTransferManager_TransferLiteral, args);
  EXPECT_TRUE(await(args.done_with_h2d_transfer).ok());
  EXPECT_EQ(download<float>(retrieve(0).get()), counting(6));
  PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args again{};
  again.transfer_manager = manager_;
  EXPECT_FAILS(call(api()->PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer, again),
               FAILED_PRECONDITION, "buffer 0 was retrieved already");

  const std::string text = "disk full";
  PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args error{};
  error.transfer_manager = manager_;
  error.buffer_index = 1;
  error.error_code = PJRT_Error_Code_DATA_LOSS;
  error.error_message = text.data();
  error.error_message_size = text.size();
  must(api()->PJRT_AsyncHostToDeviceTransferManager_SetBufferError, error);
  EXPECT_FAILS(readiness(retrieve(1).get()), DATA_LOSS, text);
}

TEST_F(Transfers, UnfinishedBuffersFailWithTheManager) {
  Handle buffer = retrieve(1);
  destroy();
  EXPECT_FAILS(readiness(buffer.get()), CANCELLED, "before the last transfer");
}

}  // namespace
}  // namespace jaxmps::pjrt::test
