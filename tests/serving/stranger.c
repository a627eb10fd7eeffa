/* Runs a signature of a SavedModel through the TensorFlow C API: a session, as TensorFlow Serving has one, and no Python.

   stranger SAVED_MODEL INPUT_OPERATION OUTPUT_OPERATION OUTPUT_INDEX floats DIMENSION... < floats > floats
   stranger SAVED_MODEL INPUT_OPERATION OUTPUT_OPERATION OUTPUT_INDEX bytes               < bytes  > bytes

   Tells the shape of the output on stderr, or ends with status 3 and what TensorFlow says. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>
#include <tensorflow/c/tf_tstring.h>

static void require(const TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "code %d: %s\n", TF_GetCode(status), TF_Message(status));
    exit(3);
  }
}

static char *read_all(size_t *length) {
  size_t room = 1 << 16;
  char *data = malloc(room);
  *length = 0;
  for (size_t got; (got = fread(data + *length, 1, room - *length, stdin)) > 0;) {
    *length += got;
    if (*length == room) data = realloc(data, room *= 2);
  }
  return data;
}

static TF_Output find(TF_Graph *graph, const char *name, int index) {
  TF_Output found = {TF_GraphOperationByName(graph, name), index};
  if (found.oper == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(2);
  }
  return found;
}

int main(int count, char **given) {
  if (count < 6) return 2;
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, given[1], tags, 1, graph, NULL, status);
  require(status);

  size_t length;
  char *data = read_all(&length);
  TF_Tensor *input, *output = NULL;
  if (strcmp(given[5], "floats") == 0) {
    int64_t dimensions[8];
    for (int i = 6; i < count && i < 14; i++) dimensions[i - 6] = atoll(given[i]);
    input = TF_AllocateTensor(TF_FLOAT, dimensions, count - 6, length);
    memcpy(TF_TensorData(input), data, length);
  } else {
    const int64_t one = 1;
    input = TF_AllocateTensor(TF_STRING, &one, 1, sizeof(TF_TString));
    TF_TString_Init(TF_TensorData(input));
    TF_TString_Copy(TF_TensorData(input), data, length);
  }
  TF_Output from = find(graph, given[2], 0), to = find(graph, given[3], atoi(given[4]));
  TF_SessionRun(session, NULL, &from, &input, 1, &to, &output, 1, NULL, 0, NULL, status);
  require(status);

  for (int i = 0; i < TF_NumDims(output); i++) fprintf(stderr, "%lld ", (long long)TF_Dim(output, i));
  if (TF_TensorType(output) == TF_STRING) {
    const TF_TString *text = TF_TensorData(output);
    fwrite(TF_TString_GetDataPointer(text), 1, TF_TString_GetSize(text), stdout);
  } else {
    fwrite(TF_TensorData(output), 1, TF_TensorByteSize(output), stdout);
  }
  TF_DeleteTensor(input);
  TF_DeleteTensor(output);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  return 0;
}
