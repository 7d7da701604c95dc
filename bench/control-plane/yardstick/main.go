// The yardstick of bench:control-plane: go-control-plane's stock snapshot cache with the very resources
// that Serin served, one snapshot per namespace. Arguments: the file of resources, the xDS port.
// A change is a POST to the port that it prints.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// byNamespace shares one snapshot between the proxies of a namespace.
type byNamespace struct{}

func (byNamespace) ID(node *core.Node) string {
	return strings.TrimSuffix(strings.Split(node.GetId(), "~")[3], ".svc.cluster.local")
}

type change struct {
	Namespaces []string `json:"namespaces"`
	// Endpoint changes: the cluster that gets one more endpoint.
	Cluster string `json:"cluster"`
	Address string `json:"address"`
	// Weight changes: the virtual host and the weight of its second cluster.
	VirtualHost string `json:"virtualHost"`
	Weight      uint32 `json:"weight"`
	Marker      string `json:"marker"`
}

type plane struct {
	mu      sync.Mutex
	cache   cache.SnapshotCache
	groups  map[string]map[resource.Type][]types.Resource
	version int
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	check(err)
	var dump map[string]map[string][][]byte
	check(json.Unmarshal(text, &dump))
	text = nil
	p := &plane{
		cache:  cache.NewSnapshotCache(true, byNamespace{}, nil),
		groups: map[string]map[resource.Type][]types.Resource{},
	}
	for namespace, byType := range dump {
		p.groups[namespace] = map[resource.Type][]types.Resource{}
		for typeURL, bodies := range byType {
			for _, body := range bodies {
				message := messageOf(typeURL)
				check(proto.Unmarshal(body, message))
				p.groups[namespace][typeURL] = append(p.groups[namespace][typeURL], message)
			}
		}
	}
	dump = nil
	for namespace := range p.groups {
		p.publish(namespace)
	}
	grpcServer := grpc.NewServer(grpc.MaxConcurrentStreams(1_000_000))
	discovery.RegisterAggregatedDiscoveryServiceServer(
		grpcServer, server.NewServer(context.Background(), p.cache, nil))
	xds, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	check(err)
	go func() { check(grpcServer.Serve(xds)) }()
	control, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(control.Addr().(*net.TCPAddr).Port)
	check(http.Serve(control, p))
}

func (p *plane) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	var c change
	if err := json.NewDecoder(request.Body).Decode(&c); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version++
	for _, namespace := range c.Namespaces {
		if c.Cluster != "" {
			p.changeEndpoint(namespace, c)
		} else {
			p.changeWeight(namespace, c)
		}
		p.publish(namespace)
	}
}

func (p *plane) changeEndpoint(namespace string, c change) {
	all := p.groups[namespace][resource.EndpointType]
	for i, each := range all {
		assignment := each.(*endpoint.ClusterLoadAssignment)
		if assignment.ClusterName != c.Cluster {
			continue
		}
		changed := proto.Clone(assignment).(*endpoint.ClusterLoadAssignment)
		last := changed.Endpoints[len(changed.Endpoints)-1].LbEndpoints
		last[len(last)-1].GetEndpoint().Address.GetSocketAddress().Address = c.Address
		all[i] = changed
	}
}

func (p *plane) changeWeight(namespace string, c change) {
	all := p.groups[namespace][resource.RouteType]
	for i, each := range all {
		changed := proto.Clone(each.(*route.RouteConfiguration)).(*route.RouteConfiguration)
		for _, host := range changed.VirtualHosts {
			if host.Name != c.VirtualHost {
				continue
			}
			host.Routes[0].Name = c.Marker
			clusters := host.Routes[0].GetRoute().GetWeightedClusters().GetClusters()
			for k, weight := range []uint32{100 - c.Weight, c.Weight} {
				if k < len(clusters) {
					clusters[k].Weight.Value = weight
				}
			}
		}
		all[i] = changed
	}
}

func (p *plane) publish(namespace string) {
	snapshot, err := cache.NewSnapshot(fmt.Sprint(p.version), p.groups[namespace])
	check(err)
	check(p.cache.SetSnapshot(context.Background(), namespace, snapshot))
}

func messageOf(typeURL string) types.Resource {
	switch typeURL {
	case resource.ClusterType:
		return &cluster.Cluster{}
	case resource.EndpointType:
		return &endpoint.ClusterLoadAssignment{}
	case resource.ListenerType:
		return &listener.Listener{}
	case resource.RouteType:
		return &route.RouteConfiguration{}
	}
	panic("no such type: " + typeURL)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
