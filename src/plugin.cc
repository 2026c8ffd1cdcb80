// The one symbol a PJRT client looks up in the plugin's library.
#include "pjrt/api.h"

extern "C" __attribute__((visibility("default"))) const PJRT_Api* GetPjrtApi() {
  return jaxmps::pjrt::api();
}
