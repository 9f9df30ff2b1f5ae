package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mattfenwick/cyclonus/pkg/kube"
	"github.com/mattfenwick/cyclonus/pkg/worker"
)

// withServices fills in what cyclonus forgets: a pod that a case creates or relabels has no service address in its books, and a
// question without an address would be one of the asking pod to itself.
type withServices struct{ kube.IKubernetes }

func (w withServices) ExecuteRemoteCommand(namespace, pod, container string, command []string) (string, string, error, error) {
	var batch worker.Batch
	if len(command) != 3 || command[0] != "/worker" {
		return "", "", nil, fmt.Errorf("not a question of the worker: %v", command[0])
	}
	if err := json.Unmarshal([]byte(command[2]), &batch); err != nil {
		return "", "", nil, err
	}
	for _, request := range batch.Requests {
		if request.Host != "" {
			continue
		}
		parts := strings.Split(request.Key, "/") // from namespace, pod, container, to namespace, pod, …
		service, err := w.GetService(parts[3], fmt.Sprintf("s-%s-%s", parts[3], parts[4]))
		if err != nil {
			return "", "", nil, err
		}
		request.Host = service.Spec.ClusterIP
	}
	text, err := json.Marshal(batch)
	if err != nil {
		return "", "", nil, err
	}
	return w.IKubernetes.ExecuteRemoteCommand(namespace, pod, container, []string{"/worker", "--jobs", string(text)})
}
