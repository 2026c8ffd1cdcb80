// The extension nodes this plugin chains behind PJRT_Api.extension_start, and their argument
// structs. Same rules as abi.h; a node's struct_size covers the whole node, and every function up
// to it must be there.
#pragma once

#include "pjrt/abi.h"

// ---- Profiler: an interface of its own inside PJRT, with its own errors ----

struct PLUGIN_Profiler;
struct PLUGIN_Profiler_Error;
struct PLUGIN_Profiler_ConsumeResult;

struct PLUGIN_Profiler_Error_Destroy_Args {
  size_t struct_size;
  void* priv;
  PLUGIN_Profiler_Error* error;
};
struct PLUGIN_Profiler_Error_Message_Args {
  size_t struct_size;
  void* priv;
  PLUGIN_Profiler_Error* error;
  /*out*/ const char* message;
  /*out*/ size_t message_size;
};
struct PLUGIN_Profiler_Error_GetCode_Args {
  size_t struct_size;
  void* priv;
  const PLUGIN_Profiler_Error* error;
  /*out*/ int code;
};
struct PLUGIN_Profiler_Create_Args {
  size_t struct_size;
  const char* options;
  size_t options_size;
  /*out*/ PLUGIN_Profiler* profiler;
};
struct PLUGIN_Profiler_Destroy_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
};
struct PLUGIN_Profiler_Start_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
};
struct PLUGIN_Profiler_Stop_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
};
// Called twice: with a null buffer for the size, then with a buffer of that size.
struct PLUGIN_Profiler_CollectData_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
  /*out*/ uint8_t* buffer;
  /*out*/ size_t buffer_size_in_bytes;
};
struct PLUGIN_Profiler_Consume_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
  /*out*/ PLUGIN_Profiler_ConsumeResult* result;
};
struct PLUGIN_Profiler_ConsumeResult_Destroy_Args {
  size_t struct_size;
  PLUGIN_Profiler_ConsumeResult* consume_result;
};
struct PLUGIN_Profiler_Serialize_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
  PLUGIN_Profiler_ConsumeResult* consume_result;
  /*out*/ char* serialized_bytes;
  /*out*/ size_t serialized_size;
};

struct PLUGIN_Profiler_Api {
  size_t struct_size;
  void* priv;
  void (*error_destroy)(PLUGIN_Profiler_Error_Destroy_Args* args);
  void (*error_message)(PLUGIN_Profiler_Error_Message_Args* args);
  PLUGIN_Profiler_Error* (*error_get_code)(PLUGIN_Profiler_Error_GetCode_Args* args);
  PLUGIN_Profiler_Error* (*create)(PLUGIN_Profiler_Create_Args* args);
  PLUGIN_Profiler_Error* (*destroy)(PLUGIN_Profiler_Destroy_Args* args);
  PLUGIN_Profiler_Error* (*start)(PLUGIN_Profiler_Start_Args* args);
  PLUGIN_Profiler_Error* (*stop)(PLUGIN_Profiler_Stop_Args* args);
  PLUGIN_Profiler_Error* (*collect_data)(PLUGIN_Profiler_CollectData_Args* args);
  PLUGIN_Profiler_Error* (*consume)(PLUGIN_Profiler_Consume_Args* args);
  PLUGIN_Profiler_Error* (*consume_result_destroy)(
      PLUGIN_Profiler_ConsumeResult_Destroy_Args* args);
  PLUGIN_Profiler_Error* (*serialize)(PLUGIN_Profiler_Serialize_Args* args);
};

struct PJRT_Profiler_Extension {
  PJRT_Extension_Base base;
  PLUGIN_Profiler_Api* profiler_api;
  int64_t traceme_context_id;
};

// ---- Layouts, Shardings, MemoryDescriptions ----

struct PJRT_Layouts_MemoryLayout;
struct PJRT_Layouts_SerializedLayout;
struct PJRT_MemoryDescription;

#define PJRT_SLOT PJRT_ARGS
#include "pjrt/extension_slots.def"
#undef PJRT_SLOT

#define PJRT_FUNCTION(name) PJRT_Error* (*PJRT_##name)(PJRT_##name##_Args * args)
struct PJRT_Layouts_Extension {
  PJRT_Extension_Base base;
  PJRT_FUNCTION(Layouts_MemoryLayout_Destroy);
  PJRT_FUNCTION(Layouts_MemoryLayout_Serialize);
  PJRT_FUNCTION(Layouts_PJRT_Client_GetDefaultLayout);
  PJRT_FUNCTION(Layouts_PJRT_Buffer_MemoryLayout);
  PJRT_FUNCTION(Layouts_PJRT_Topology_GetDefaultLayout);
  PJRT_FUNCTION(Layouts_PJRT_Executable_GetOutputLayouts);
  PJRT_FUNCTION(Layouts_PJRT_Executable_GetParameterLayouts);
};
struct PJRT_Shardings_Extension {
  PJRT_Extension_Base base;
  PJRT_FUNCTION(Shardings_PJRT_Executable_ParameterShardings);
  PJRT_FUNCTION(Shardings_PJRT_Executable_OutputShardings);
};
struct PJRT_MemoryDescriptions_Extension {
  PJRT_Extension_Base base;
  PJRT_FUNCTION(DeviceDescription_MemoryDescriptions);
  PJRT_FUNCTION(MemoryDescription_Kind);
};
#undef PJRT_FUNCTION

static_assert(sizeof(PLUGIN_Profiler_Api) == 104);
static_assert(sizeof(PJRT_Profiler_Extension) == 40);
static_assert(sizeof(PJRT_Layouts_Extension) == 80);
static_assert(sizeof(PJRT_Shardings_Extension) == 40);
static_assert(sizeof(PJRT_MemoryDescriptions_Extension) == 40);
