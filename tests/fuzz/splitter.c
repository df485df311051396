/* What libFuzzer calls: the accelerator's splitter, held to whole_list and Decoder on any bytes. Built by __main__.py. */

#include WIRE /* fast/scache_fast/engine/_wire.c, or a copy with a fault in it */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static PyObject *oracle;

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    Py_Initialize();
    PyObject *module = PyImport_ImportModule("tests.fuzz.oracle");
    oracle = module == NULL ? NULL : PyObject_GetAttrString(module, "split");
    if (oracle == NULL) {
        PyErr_Print();
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* The first byte is how many attributes a list may have. */
    if (size == 0)
        return 0;
    PyObject *list = PyBytes_FromStringAndSize((const char *)data + 1, (Py_ssize_t)size - 1);
    PyObject *attributes_max = PyLong_FromLong(data[0] % 8);
    PyObject *arguments[] = {list, attributes_max};
    PyObject *found = whole_list(NULL, arguments, 2);
    PyObject *wanted = PyObject_CallFunctionObjArgs(oracle, list, attributes_max, NULL);
    if (found == NULL || wanted == NULL || PyObject_RichCompareBool(found, wanted, Py_EQ) != 1) {
        PyErr_Print();
        fputs("the accelerator splits otherwise than whole_list and Decoder\n", stderr);
        abort();
    }
    Py_DECREF(wanted);
    Py_DECREF(found);
    Py_DECREF(attributes_max);
    Py_DECREF(list);
    return 0;
}
