// A program on client-go's defaults. `go run . KUBECONFIG NAMESPACE CHECK` runs one check and says `ok`.
// KUBECONFIG's cluster runs a pod `p` in NAMESPACE, and serves the custom kind boats.go.example.com.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io/ioutil"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/remotecommand"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/transport/spdy"
)

const patience = 15 * time.Second

type world struct {
	config    *rest.Config // for built-in kinds: protobuf
	plain     *rest.Config // for the others: JSON
	clients   *kubernetes.Clientset
	namespace string
	rest      []string
}

var checks = map[string]func(context.Context, *world) error{
	"objects": objects, "informers": informed, "metadata": partial, "election": election, "dynamic": custom,
	"mapper": mapper, "exec": execute, "forward": forward, "events": events, "pages": pages,
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	must(err)
	plain := rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	clients, err := kubernetes.NewForConfig(config)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check, known := checks[os.Args[3]]
	if !known {
		must(fmt.Errorf("no check is called %s", os.Args[3]))
	}
	must(check(ctx, &world{config, plain, clients, os.Args[2], os.Args[4:]}))
	fmt.Println("ok")
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func that(holds bool, format string, values ...interface{}) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, values...)
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
}

func deployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	main := corev1.Container{Name: "main", Image: "busybox", Command: []string{"sleep", "1000"}}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{main}},
			},
		},
	}
}

// objects: create, get, update, patch, apply, delete; and the errors that clients tell apart.
func objects(ctx context.Context, w *world) error {
	maps := w.clients.CoreV1().ConfigMaps(w.namespace)
	made, err := maps.Create(ctx, configMap("a", map[string]string{"x": "1"}), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if _, err = maps.Create(ctx, configMap("a", nil), metav1.CreateOptions{}); !errors.IsAlreadyExists(err) {
		return fmt.Errorf("created twice: %v", err)
	}
	patch := []byte(`{"data":{"y":"2"}}`)
	patched, err := maps.Patch(ctx, "a", types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return err
	}
	if err := that(len(patched.Data) == 2, "patched to %v", patched.Data); err != nil {
		return err
	}
	made.Data = map[string]string{"z": "3"}
	if _, err = maps.Update(ctx, made, metav1.UpdateOptions{}); !errors.IsConflict(err) {
		return fmt.Errorf("a stale update: %v", err)
	}
	apply := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"9"}}`)
	options := metav1.PatchOptions{FieldManager: "me"}
	if _, err = maps.Patch(ctx, "a", types.ApplyPatchType, apply, options); !errors.IsConflict(err) {
		return fmt.Errorf("applied over another's field: %v", err)
	}
	force := true
	options.Force = &force
	applied, err := maps.Patch(ctx, "a", types.ApplyPatchType, apply, options)
	if err != nil {
		return err
	}
	if err := that(applied.Data["x"] == "9", "applied to %v", applied.Data); err != nil {
		return err
	}
	if err = maps.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		return err
	}
	if _, err = maps.Get(ctx, "a", metav1.GetOptions{}); !errors.IsNotFound(err) {
		return fmt.Errorf("gone: %v", err)
	}
	wrong := deployment("UPPER", 1)
	if _, err = w.clients.AppsV1().Deployments(w.namespace).Create(ctx, wrong, metav1.CreateOptions{}); !errors.IsInvalid(err) {
		return fmt.Errorf("a bad name: %v", err)
	}
	_, err = w.clients.CoreV1().ConfigMaps("no-such").Create(ctx, configMap("a", nil), metav1.CreateOptions{})
	return that(errors.IsNotFound(err), "no namespace: %v", err)
}

// informed: shared informers of several kinds see what happens, and a watch waits for a state.
func informed(ctx context.Context, w *world) error {
	factory := informers.NewSharedInformerFactoryWithOptions(w.clients, 0, informers.WithNamespace(w.namespace))
	added := make(chan string, 100)
	handler := cache.ResourceEventHandlerFuncs{AddFunc: func(obj interface{}) { added <- obj.(metav1.Object).GetName() }}
	factory.Core().V1().ConfigMaps().Informer().AddEventHandler(handler)
	pods := factory.Core().V1().Pods().Lister().Pods(w.namespace)
	factory.Core().V1().Events().Informer()
	factory.Coordination().V1().Leases().Informer()
	deployments := factory.Apps().V1().Deployments().Lister().Deployments(w.namespace)
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("%v has not synced", kind)
		}
	}
	pod, err := pods.Get("p")
	if err != nil {
		return err
	}
	if err := that(pod.Status.Phase == corev1.PodRunning, "the pod is %s", pod.Status.Phase); err != nil {
		return err
	}
	if _, err := w.clients.CoreV1().ConfigMaps(w.namespace).Create(ctx, configMap("seen", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	for name := ""; name != "seen"; {
		select {
		case name = <-added:
		case <-ctx.Done():
			return fmt.Errorf("the informer has not told of the new object")
		}
	}
	if _, err := w.clients.AppsV1().Deployments(w.namespace).Create(ctx, deployment("d", 2), metav1.CreateOptions{}); err != nil {
		return err
	}
	list := cache.NewListWatchFromClient(w.clients.AppsV1().RESTClient(), "deployments", w.namespace, fields.OneTermEqualSelector("metadata.name", "d"))
	_, err = watchtools.UntilWithSync(ctx, list, &appsv1.Deployment{}, nil, func(event watch.Event) (bool, error) {
		return event.Object.(*appsv1.Deployment).Status.AvailableReplicas == 2, nil
	})
	if err != nil {
		return err
	}
	scale, err := w.clients.AppsV1().Deployments(w.namespace).GetScale(ctx, "d", metav1.GetOptions{})
	if err != nil {
		return err
	}
	scale.Spec.Replicas = 1
	if _, err = w.clients.AppsV1().Deployments(w.namespace).UpdateScale(ctx, "d", scale, metav1.UpdateOptions{}); err != nil {
		return err
	}
	for {
		found, err := deployments.Get("d")
		if err == nil && *found.Spec.Replicas == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the scaled deployment has not come to the informer")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// partial: informers of nothing but metadata, as garbage collectors use them.
func partial(ctx context.Context, w *world) error {
	client, err := metadata.NewForConfig(w.config)
	if err != nil {
		return err
	}
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	found, err := client.Resource(pods).Namespace(w.namespace).Get(ctx, "p", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := that(found.Labels["app"] == "p", "its labels are %v", found.Labels); err != nil {
		return err
	}
	factory := metadatainformer.NewFilteredSharedInformerFactory(client, 0, w.namespace, nil)
	informer := factory.ForResource(pods)
	informer.Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	_, err = informer.Lister().ByNamespace(w.namespace).Get("p")
	return err
}

func election(ctx context.Context, w *world) error {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, w.namespace, "leader", w.clients.CoreV1(),
		w.clients.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: "me"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	led, stopped := false, make(chan struct{})
	go leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { led = true; cancel() },
			OnStoppedLeading: func() { close(stopped) },
		},
	})
	select {
	case <-stopped:
	case <-time.After(patience):
	}
	if err := that(led, "nobody leads"); err != nil {
		return err
	}
	lease, err := w.clients.CoordinationV1().Leases(w.namespace).Get(context.Background(), "leader", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return that(*lease.Spec.LeaseTransitions >= 0, "the lease is %v", lease.Spec)
}

var boats = schema.GroupVersionResource{Group: "go.example.com", Version: "v1", Resource: "boats"}

func custom(ctx context.Context, w *world) error {
	client, err := dynamic.NewForConfig(w.plain)
	if err != nil {
		return err
	}
	updated := make(chan int64, 100)
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, w.namespace, nil)
	factory.ForResource(boats).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj interface{}) { updated <- obj.(*unstructured.Unstructured).GetGeneration() },
	})
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	body := &unstructured.Unstructured{Object: map[string]interface{}{
		"apiVersion": "go.example.com/v1", "kind": "Boat", "metadata": map[string]interface{}{"name": "ark"},
		"spec": map[string]interface{}{"sails": int64(1)},
	}}
	made, err := client.Resource(boats).Namespace(w.namespace).Create(ctx, body, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	unstructured.SetNestedField(made.Object, int64(2), "spec", "sails")
	made, err = client.Resource(boats).Namespace(w.namespace).Update(ctx, made, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	unstructured.SetNestedField(made.Object, "afloat", "status", "state")
	made, err = client.Resource(boats).Namespace(w.namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	if state, _, _ := unstructured.NestedString(made.Object, "status", "state"); state != "afloat" {
		return fmt.Errorf("its status is %v", made.Object["status"])
	}
	for {
		select {
		case generation := <-updated:
			if generation == 2 {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("the informer has not told of the change")
		}
	}
}

func mapper(ctx context.Context, w *world) error {
	cached := memory.NewMemCacheClient(w.clients.Discovery())
	deferred := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	for kind, plural := range map[schema.GroupKind]string{
		{Group: "apps", Kind: "Deployment"}: "deployments", {Kind: "Pod"}: "pods", {Group: "go.example.com", Kind: "Boat"}: "boats",
	} {
		mapping, err := deferred.RESTMapping(kind)
		if err != nil {
			return err
		}
		if err := that(mapping.Resource.Resource == plural, "%v is %v", kind, mapping.Resource); err != nil {
			return err
		}
	}
	expanded := restmapper.NewShortcutExpander(deferred, cached)
	found, err := expanded.ResourceFor(schema.GroupVersionResource{Resource: "deploy"})
	if err != nil {
		return err
	}
	_, preferred, err := w.clients.Discovery().ServerGroupsAndResources()
	if err != nil {
		return err
	}
	return that(found.Resource == "deployments" && len(preferred) > 15, "found %v in %d", found, len(preferred))
}

func execute(ctx context.Context, w *world) error {
	run := func(input string, command ...string) (string, error) {
		request := w.clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(w.namespace).Name("p").SubResource("exec")
		options := &corev1.PodExecOptions{Command: command, Stdin: input != "", Stdout: true, Stderr: true}
		request.VersionedParams(options, scheme.ParameterCodec)
		executor, err := remotecommand.NewSPDYExecutor(w.config, http.MethodPost, request.URL())
		if err != nil {
			return "", err
		}
		var out, complaints bytes.Buffer
		streams := remotecommand.StreamOptions{Stdout: &out, Stderr: &complaints}
		if input != "" {
			streams.Stdin = bytes.NewBufferString(input)
		}
		err = executor.Stream(streams)
		return out.String(), err
	}
	if out, err := run("", "echo", "hi"); err != nil || out != "hi\n" {
		return fmt.Errorf("echo said %q, %v", out, err)
	}
	if out, err := run("there and back\n", "cat"); err != nil || out != "there and back\n" {
		return fmt.Errorf("cat said %q, %v", out, err)
	}
	_, err := run("", "sh", "-c", "exit 3")
	if coded, ok := err.(interface{ ExitStatus() int }); !ok || coded.ExitStatus() != 3 {
		return fmt.Errorf("exit 3 ended with %v", err)
	}
	logs, err := w.clients.CoreV1().Pods(w.namespace).GetLogs("p", &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return err
	}
	return that(string(logs) == "hello\n", "the log is %q", logs)
}

func forward(ctx context.Context, w *world) error {
	request := w.clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(w.namespace).Name("p").SubResource("portforward")
	transport, upgrader, err := spdy.RoundTripperFor(w.config)
	if err != nil {
		return err
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, request.URL())
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	forwarder, err := portforward.New(dialer, []string{"0:" + w.rest[0]}, stop, ready, ioutil.Discard, os.Stderr)
	if err != nil {
		return err
	}
	go forwarder.ForwardPorts()
	select {
	case <-ready:
	case <-ctx.Done():
		return fmt.Errorf("nothing is forwarded")
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return err
	}
	connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))))
	if err != nil {
		return err
	}
	defer connection.Close()
	fmt.Fprintln(connection, "one")
	answer := make([]byte, 9)
	connection.SetDeadline(time.Now().Add(patience))
	if _, err = connection.Read(answer); err != nil {
		return err
	}
	return that(string(answer) == "echo one\n", "answered %q", answer)
}

func events(ctx context.Context, w *world) error {
	pod, err := w.clients.CoreV1().Pods(w.namespace).Get(ctx, "p", metav1.GetOptions{})
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster()
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&eventSink{w.clients, w.namespace})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "go"})
	for i := 0; i < 3; i++ {
		recorder.Event(pod, corev1.EventTypeNormal, "Sailing", "away")
	}
	list := cache.NewListWatchFromClient(w.clients.CoreV1().RESTClient(), "events", w.namespace, fields.OneTermEqualSelector("reason", "Sailing"))
	_, err = watchtools.UntilWithSync(ctx, list, &corev1.Event{}, nil, func(event watch.Event) (bool, error) {
		return event.Object.(*corev1.Event).Count == 3, nil
	})
	return err
}

// eventSink is what record.EventSink asks for, on a typed client.
type eventSink struct {
	clients   *kubernetes.Clientset
	namespace string
}

func (s *eventSink) Create(event *corev1.Event) (*corev1.Event, error) {
	return s.clients.CoreV1().Events(s.namespace).CreateWithEventNamespace(event)
}

func (s *eventSink) Update(event *corev1.Event) (*corev1.Event, error) {
	return s.clients.CoreV1().Events(s.namespace).UpdateWithEventNamespace(event)
}

func (s *eventSink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	return s.clients.CoreV1().Events(s.namespace).PatchWithEventNamespace(event, data)
}

func pages(ctx context.Context, w *world) error {
	for i := 0; i < 5; i++ {
		page := configMap(fmt.Sprintf("page%d", i), nil)
		page.Labels = map[string]string{"of": "book"}
		if _, err := w.clients.CoreV1().ConfigMaps(w.namespace).Create(ctx, page, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	found := 0
	lister := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return w.clients.CoreV1().ConfigMaps(w.namespace).List(ctx, options)
	})
	lister.PageSize = 2
	err := lister.EachListItem(ctx, metav1.ListOptions{LabelSelector: "of=book"}, func(runtime.Object) error {
		found++
		return nil
	})
	if err != nil {
		return err
	}
	return that(found == 5, "found %d", found)
}
