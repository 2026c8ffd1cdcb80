#include <cstring>
#include <new>
#include <set>
#include <stdexcept>

#include "pjrt/abi_extensions.h"
#include "pjrt/support.h"

namespace jaxmps::pjrt::test {
namespace {

TEST(PjrtApi, EverySlotHoldsAFunction) {
  ASSERT_EQ(api()->struct_size, 1144u);
  EXPECT_EQ(api()->pjrt_api_version.major_version, 0);
  EXPECT_EQ(api()->pjrt_api_version.minor_version, 114);
  EXPECT_EQ(api(), api());
  void* slots[kPjrtSlots];
  std::memcpy(slots, reinterpret_cast<const char*>(api()) + 40, sizeof(slots));
  std::set<void*> distinct;
  for (size_t i = 0; i < kPjrtSlots; ++i) {
    EXPECT_NE(slots[i], nullptr) << "slot " << i;
    distinct.insert(slots[i]);
  }
  EXPECT_EQ(distinct.size(), kPjrtSlots);
}

TEST(PjrtApi, StubsAnswerWithTheirNameAndReason) {
  std::set<std::string> stubs;
#define STUB(slot, reason)                                                 \
  {                                                                        \
    PJRT_##slot##_Args args{};                                             \
    Outcome outcome = call(api()->PJRT_##slot, args);                      \
    EXPECT_EQ(outcome.code, PJRT_Error_Code_UNIMPLEMENTED);                \
    EXPECT_EQ(outcome.text, "PJRT_" #slot " is not implemented: " reason); \
    EXPECT_GE(std::string(reason).size(), 20u);                            \
    stubs.insert(#slot);                                                   \
  }
#include "pjrt/stubs.def"
#undef STUB
  EXPECT_LE(stubs.size(), 11u);
}

// A null handle, or arguments of zeros, is an error and never a crash.
TEST(PjrtApi, ZeroArgumentsDoNotCrash) {
  const std::set<std::string> makers{"Client_Create", "TopologyDescription_Create", "Event_Create",
                                     "ExecuteContext_Create"};  // need no arguments
#define PJRT_VOID_SLOT(name, ...)                          \
  {                                                        \
    PJRT_##name##_Args args{};                             \
    args.struct_size = ArgsInfo<PJRT_##name##_Args>::size; \
    api()->PJRT_##name(&args);                             \
  }
#define PJRT_SLOT(name, ...)              \
  if (!makers.contains(#name)) {          \
    PJRT_##name##_Args args{};            \
    consume(api()->PJRT_##name(&args));   \
    (void)call(api()->PJRT_##name, args); \
  }
#include "pjrt/slots.def"
#undef PJRT_SLOT
#undef PJRT_VOID_SLOT
}

TEST(PjrtApi, ContextsAndTrackingEventsAreMadeAndDestroyed) {
  PJRT_ExecuteContext_Create_Args context{};
  must(api()->PJRT_ExecuteContext_Create, context);
  PJRT_ExecuteContext_Destroy_Args gone{};
  gone.context = context.context;
  must(api()->PJRT_ExecuteContext_Destroy, gone);
  PJRT_Device_CreateAsyncTrackingEvent_Args event{};
  event.device = device();
  must(api()->PJRT_Device_CreateAsyncTrackingEvent, event);
  PJRT_AsyncTrackingEvent_Destroy_Args over{};
  over.event = event.event;
  must(api()->PJRT_AsyncTrackingEvent_Destroy, over);
}

TEST(PjrtApi, ExtensionsAreComplete) {
  std::set<int> types;
  for (auto* node = api()->extension_start; node; node = node->next) {
    EXPECT_TRUE(types.insert(node->type).second);
    std::vector<void*> words(node->struct_size / sizeof(void*));
    std::memcpy(words.data(), node, node->struct_size);
    const size_t end = node->type == PJRT_Extension_Type_Profiler ? 4 : words.size();
    for (size_t i = 3; i < end; ++i) EXPECT_NE(words[i], nullptr) << node->type << " word " << i;
  }
  EXPECT_EQ(types,
            (std::set<int>{PJRT_Extension_Type_Profiler, PJRT_Extension_Type_Layouts,
                           PJRT_Extension_Type_MemoryDescriptions, PJRT_Extension_Type_Shardings}));
}

TEST(PjrtApi, ShortStructsAreRefused) {
  PJRT_Client_Create_Args args{};
  args.struct_size = 40;
  EXPECT_FAILS(consume(api()->PJRT_Client_Create(&args)), INVALID_ARGUMENT,
               "PJRT_Client_Create: struct_size is 40, at least ");
}

TEST(PjrtApi, OldPluginAttributesStructGetsItsLastField) {
  PJRT_Plugin_Attributes_Args args{};
  args.struct_size = 24;
  args.num_attributes = 12345;
  ASSERT_TRUE(consume(api()->PJRT_Plugin_Attributes(&args)).ok());
  ASSERT_EQ(args.num_attributes, 3u);
  const PJRT_NamedValue& version = args.attributes[0];
  EXPECT_EQ(std::string(version.name, version.name_size), "stablehlo_current_version");
  ASSERT_EQ(version.value_size, 3u);
  EXPECT_EQ(version.int64_array_value[1], 22);
}

// A client of an older minor has a shorter struct; what lies behind it is not ours.
TEST(PjrtApi, NothingIsWrittenBehindTheCallersStruct) {
  struct {
    PJRT_Device_MemoryStats_Args args;
    char guard[16];
  } memory;
  for (size_t size : {185, 201, 32}) {
    std::memset(&memory, 0x5a, sizeof(memory));
    memory.args.struct_size = size;
    memory.args.device = device();
    ASSERT_TRUE(consume(api()->PJRT_Device_MemoryStats(&memory.args)).ok());
    const auto* bytes = reinterpret_cast<const unsigned char*>(&memory);
    for (size_t i = size; i < sizeof(memory); ++i) ASSERT_EQ(bytes[i], 0x5a) << "byte " << i;
    EXPECT_GE(memory.args.bytes_in_use, 0);
    if (size > 32) {
      EXPECT_TRUE(memory.args.bytes_limit_is_set);
      EXPECT_FALSE(memory.args.num_allocs_is_set);
      EXPECT_EQ(memory.args.num_allocs, 0);
    }
  }
}

Status throw_bad_alloc(PJRT_Plugin_Initialize_Args&) { throw std::bad_alloc(); }
Status throw_error(PJRT_Plugin_Initialize_Args&) { throw std::runtime_error("went wrong"); }
Status throw_number(PJRT_Plugin_Initialize_Args&) { throw 7; }

TEST(PjrtApi, ExceptionsStayInside) {
  PJRT_Plugin_Initialize_Args args{};
  PJRT_Error* (*slot)(PJRT_Plugin_Initialize_Args*) = nullptr;
  bind<throw_bad_alloc>(slot);
  EXPECT_FAILS(call(slot, args), RESOURCE_EXHAUSTED, "out of host memory");
  bind<throw_error>(slot);
  EXPECT_FAILS(call(slot, args), INTERNAL, "went wrong");
  bind<throw_number>(slot);
  EXPECT_FAILS(call(slot, args), INTERNAL, "an exception of unknown type");
}

TEST(PjrtError, SlotsAndVtableAgree) {
  PJRT_Error* error = new_error(invalid("a message"));
  const char* text;
  size_t size;
  error->vtable->message(error, &text, &size);
  EXPECT_EQ(std::string(text, size), "a message");
  EXPECT_EQ(error->vtable->get_code(error), PJRT_Error_Code_INVALID_ARGUMENT);
  int visits = 0;
  PJRT_Error_ForEachPayload_Args payloads{};
  payloads.error = error;
  payloads.visitor = [](const char*, size_t, const char*, size_t, void* user) {
    ++*static_cast<int*>(user);
  };
  payloads.user_arg = &visits;
  must(api()->PJRT_Error_ForEachPayload, payloads);
  EXPECT_EQ(visits, 0);
  error->vtable->destroy(error);
}

TEST(PjrtProfiler, TraceSaysThatItIsEmpty) {
  PJRT_Extension_Base* node = api()->extension_start;
  while (node && node->type != PJRT_Extension_Type_Profiler) node = node->next;
  ASSERT_NE(node, nullptr);
  const auto& functions = *reinterpret_cast<PJRT_Profiler_Extension*>(node)->profiler_api;
  ASSERT_EQ(functions.struct_size, 80u);  // what every client understands
  void* words[10];
  std::memcpy(words, &functions, sizeof(words));
  for (int i = 2; i < 10; ++i) EXPECT_NE(words[i], nullptr) << i;
  PLUGIN_Profiler_Create_Args create{sizeof(create), nullptr, 0, nullptr};
  ASSERT_EQ(functions.create(&create), nullptr);
  PLUGIN_Profiler_CollectData_Args data{sizeof(data), create.profiler, nullptr, 0};
  ASSERT_EQ(functions.collect_data(&data), nullptr);
  std::vector<uint8_t> bytes(data.buffer_size_in_bytes);
  data.buffer = bytes.data();
  ASSERT_EQ(functions.collect_data(&data), nullptr);
  EXPECT_NE(std::string(bytes.begin(), bytes.end()).find("no device events"), std::string::npos);
  PLUGIN_Profiler_Destroy_Args destroy{sizeof(destroy), create.profiler};
  EXPECT_EQ(functions.destroy(&destroy), nullptr);
}

}  // namespace
}  // namespace jaxmps::pjrt::test
