// Renders a Helm chart the way that `helm template` does, where there is no Helm: with the engine that
// Helm has (Go's text/template, Sprig, sigs.k8s.io/yaml) and Helm's own functions that the chart calls.
// A function that is not here fails the rendering.
//
//	go run render.go CHART RELEASE NAMESPACE [VALUES.yaml...] > manifests.yaml
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func read(path string) map[string]interface{} {
	bytes, err := os.ReadFile(path)
	must(err)
	values := map[string]interface{}{}
	must(yaml.UnmarshalStrict(bytes, &values))
	return values
}

// Later values stand over earlier ones, table by table.
func merge(into, over map[string]interface{}) {
	for key, value := range over {
		table, isTable := value.(map[string]interface{})
		below, wasTable := into[key].(map[string]interface{})
		if isTable && wasTable {
			merge(below, table)
		} else {
			into[key] = value
		}
	}
}

// The names of Chart.yaml, as Helm gives them to templates.
func titled(chart map[string]interface{}) map[string]interface{} {
	named := map[string]interface{}{}
	for key, value := range chart {
		named[strings.ToUpper(key[:1])+key[1:]] = value
	}
	return named
}

func main() {
	if len(os.Args) < 4 {
		must(fmt.Errorf("usage: render CHART RELEASE NAMESPACE [VALUES.yaml...]"))
	}
	chart, release, namespace := os.Args[1], os.Args[2], os.Args[3]
	values := read(filepath.Join(chart, "values.yaml"))
	for _, path := range os.Args[4:] {
		merge(values, read(path))
	}
	data := map[string]interface{}{
		"Values": values,
		"Chart":  titled(read(filepath.Join(chart, "Chart.yaml"))),
		"Release": map[string]interface{}{
			"Name": release, "Namespace": namespace, "Service": "Helm",
			"IsInstall": true, "IsUpgrade": false, "Revision": 1,
		},
	}
	all := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	// Helm takes these away, too.
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["toYaml"] = func(value interface{}) (string, error) {
		out, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(out), "\n"), err
	}
	functions["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	all.Funcs(functions)
	paths, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	must(err)
	sort.Strings(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(err)
		_, err = all.New(filepath.Base(path)).Parse(string(text))
		must(err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		must(all.ExecuteTemplate(&out, name, data))
		// Helm prints an absent value so; no manifest of ours has one.
		if strings.Contains(out.String(), "<no value>") {
			must(fmt.Errorf("%s has a value that is not there", name))
		}
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(out.String()) != "" {
			fmt.Printf("---\n# %s\n%s\n", name, out.String())
		}
	}
}
