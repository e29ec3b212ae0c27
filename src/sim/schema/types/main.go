// Writes types.json: the fields that the API server's JSON decoder knows, by Go type, for the kinds of the embedded
// cluster. Run it here for a new version of Kubernetes:
//
//	go mod init types && go get k8s.io/api@v0.35.0 k8s.io/apiextensions-apiserver@v0.35.0 && go run . >types.json
package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"

	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

var kinds = map[string][]any{
	"v1": {core.Pod{}, core.Service{}, core.Endpoints{}, core.ConfigMap{}, core.Secret{}, core.ServiceAccount{},
		core.Namespace{}, core.Node{}, core.Event{}, core.PersistentVolume{}, core.PersistentVolumeClaim{},
		core.Binding{}, core.PodTemplate{}},
	"apps/v1":                      {apps.Deployment{}, apps.ReplicaSet{}, apps.StatefulSet{}, apps.DaemonSet{}, apps.ControllerRevision{}},
	"batch/v1":                     {batch.Job{}, batch.CronJob{}},
	"autoscaling/v1":               {autoscaling.Scale{}},
	"networking.k8s.io/v1":         {networking.NetworkPolicy{}, networking.Ingress{}},
	"policy/v1":                    {policy.PodDisruptionBudget{}, policy.Eviction{}},
	"rbac.authorization.k8s.io/v1": {rbac.Role{}, rbac.ClusterRole{}, rbac.RoleBinding{}, rbac.ClusterRoleBinding{}},
	"coordination.k8s.io/v1":       {coordination.Lease{}},
	"discovery.k8s.io/v1":          {discovery.EndpointSlice{}},
	"events.k8s.io/v1":             {events.Event{}},
	"scheduling.k8s.io/v1":         {scheduling.PriorityClass{}},
	"storage.k8s.io/v1":            {storage.StorageClass{}},
	"authentication.k8s.io/v1":     {authentication.TokenRequest{}},
	"authorization.k8s.io/v1": {authorization.SubjectAccessReview{}, authorization.SelfSubjectAccessReview{},
		authorization.SelfSubjectRulesReview{}},
	"apiextensions.k8s.io/v1": {extensions.CustomResourceDefinition{}},
	"admissionregistration.k8s.io/v1": {admission.ValidatingWebhookConfiguration{},
		admission.MutatingWebhookConfiguration{}},
}

// What has its own way of being decoded.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                             "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                        "microtime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                         "any",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                         "quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                       "intorstring",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                          "any",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                         "any",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        "any",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       "any",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "any",
}

var types = map[string]map[string]string{}

func name(t reflect.Type) string {
	path := strings.Split(strings.TrimSuffix(t.PkgPath(), "/"+t.String()[:strings.Index(t.String(), ".")]), "/")
	return path[len(path)-1] + "/" + t.String()
}

// []T, {}T for a map, @NAME for a struct, else a scalar. After a space, the name that Go gives the innermost type; after
// " !", the name of the whole list or map.
func of(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if known, ok := special[t.PkgPath()+"."+t.Name()]; ok {
		return known
	}
	written := ""
	switch t.Kind() {
	case reflect.Struct:
		fields(t)
		return "@" + name(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		written = "[]" + of(t.Elem())
	case reflect.Map:
		written = "{}" + of(t.Elem())
	default:
		written = t.Kind().String()
	}
	if t.PkgPath() != "" {
		mark := " "
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			mark = " !"
		}
		written = strings.SplitN(written, " ", 2)[0] + mark + t.String()
	}
	return written
}

func fields(t reflect.Type) {
	if _, ok := types[name(t)]; ok {
		return
	}
	all := map[string]string{}
	types[name(t)] = all
	flat(t, all)
}

func flat(t reflect.Type, all map[string]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag, rest, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && (tag == "" || strings.Contains(rest, "inline")) {
			inner := field.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			flat(inner, all)
		} else if field.IsExported() && tag != "-" && tag != "" {
			all[tag] = of(field.Type)
		}
	}
}

func main() {
	index := map[string]string{}
	for version, all := range kinds {
		for _, kind := range all {
			t := reflect.TypeOf(kind)
			fields(t)
			index[version+" "+t.Name()] = name(t)
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	if err := out.Encode(map[string]any{"kubernetes": "1.35", "kinds": index, "types": types}); err != nil {
		panic(err)
	}
}
