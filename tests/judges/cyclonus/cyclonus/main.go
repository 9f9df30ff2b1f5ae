// Runs cyclonus's own cases through its own library, with its batch mode, which its command line does not offer: one exec for
// all questions of a pod. Nothing of the judgement is ours: cases, expected tables and comparison are cyclonus's.
package main

import (
	"flag"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/mattfenwick/cyclonus/pkg/connectivity"
	"github.com/mattfenwick/cyclonus/pkg/connectivity/probe"
	"github.com/mattfenwick/cyclonus/pkg/generator"
	"github.com/mattfenwick/cyclonus/pkg/kube"
	v1 "k8s.io/api/core/v1"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func main() {
	include := flag.String("include", "", "tags of cases to run; empty for all")
	exclude := flag.String("exclude", "", "tags of cases to leave out")
	destination := flag.String("destination", "service-ip", "service-ip or pod-ip")
	flag.Parse()

	namespaces := []string{"x", "y", "z"}
	mode, err := generator.ParseProbeMode(*destination)
	must(err)
	real, err := kube.NewKubernetesForContext("")
	must(err)
	cluster := withServices{real}
	resources, err := probe.NewDefaultResources(cluster, namespaces, []string{"a", "b", "c"}, []int{80, 81},
		[]v1.Protocol{v1.ProtocolTCP, v1.ProtocolUDP}, nil, 180, true, "")
	must(err)
	time.Sleep(15 * time.Second) // it updates pods whole: the kubelet should have nothing more to say about new ones
	zc, err := resources.GetPod("z", "c")
	must(err)

	interpreter := connectivity.NewInterpreter(cluster, resources, &connectivity.InterpreterConfig{
		ResetClusterBeforeTestCase:       true,
		KubeProbeRetries:                 1,
		PerturbationWaitSeconds:          1,
		VerifyClusterStateBeforeTestCase: true,
		BatchJobs:                        true,
		IgnoreLoopback:                   true, // a pod always reaches itself, which its tables do not know
		JobTimeoutSeconds:                1,
	})
	printer := &connectivity.Printer{IgnoreLoopback: true}
	cases := generator.NewTestCaseGenerator(true, zc.IP, namespaces, words(*include), words(*exclude)).GenerateTestCases()
	for number, testCase := range cases {
		for _, step := range testCase.Steps {
			step.Probe.Mode = mode
		}
		fmt.Printf("case %d of %d: %s\n", number+1, len(cases), testCase.Description)
		result := interpreter.ExecuteTestCase(testCase)
		must(result.Err)
		printer.PrintTestCaseResult(result)
	}
	printer.PrintSummary()
	for _, namespace := range namespaces {
		must(cluster.DeleteNamespace(namespace))
	}
}
