package orders

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"orders.example/sdk/go/pb"
)

const (
	claim          = "/orders.v1.WorkerService/Claim"
	connectTimeout = 10 * time.Second
	// Messages that wait for the connection; a stream with more is replaced.
	maxOutgoing = 4_096
)

var errSilent = errors.New("the gateway has sent no message for three heartbeat intervals")

// A stream to a gateway, after Welcome. The fields below are used by the loop of the worker only.
type stream struct {
	url      string
	conn     *grpc.ClientConn
	call     grpc.GenericClientStream[pb.ClaimRequest, pb.ClaimResponse]
	cancel   context.CancelCauseFunc
	ctx      context.Context
	interval time.Duration
	outgoing chan outgoing
	writes   *writes

	granted  int
	received uint64
	draining bool
}

// A message, and what follows when it is sent.
type outgoing struct {
	message *pb.ClaimRequest
	sent    func()
}

// open connects to a gateway and sends Hello.
func open(address, token string, roots *x509.CertPool, hello *pb.ClaimHello) (*stream, []*pb.Refused, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	transport := insecure.NewCredentials()
	if target.Scheme == "https" {
		transport = credentials.NewTLS(&tls.Config{RootCAs: roots})
	}
	s := &stream{url: address, outgoing: make(chan outgoing, maxOutgoing), writes: &writes{changed: make(chan struct{}, 1)}}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.conn, err = grpc.NewClient("passthrough:///"+target.Host,
		grpc.WithTransportCredentials(transport),
		grpc.WithContextDialer(s.writes.dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256<<20)))
	if err != nil {
		return nil, nil, err
	}
	ctx := s.ctx
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	silence := time.AfterFunc(connectTimeout, func() { s.cancel(errSilent) })
	defer silence.Stop()
	welcome, err := s.greet(ctx, hello)
	if err != nil {
		s.close()
		return nil, nil, err
	}
	s.interval = max(time.Duration(welcome.HeartbeatIntervalMs)*time.Millisecond, 100*time.Millisecond)
	go s.write()
	return s, welcome.Lost, nil
}

func (s *stream) greet(ctx context.Context, hello *pb.ClaimHello) (*pb.ClaimWelcome, error) {
	description := &grpc.StreamDesc{StreamName: "Claim", ServerStreams: true, ClientStreams: true}
	call, err := s.conn.NewStream(ctx, description, claim)
	if err != nil {
		return nil, err
	}
	s.call = grpc.GenericClientStream[pb.ClaimRequest, pb.ClaimResponse]{ClientStream: call}
	// After a refusal the response has the reason.
	if err := s.call.Send(&pb.ClaimRequest{Message: &pb.ClaimRequest_Hello{Hello: hello}}); err != nil && err != io.EOF {
		return nil, err
	}
	first, err := s.call.Recv()
	if err != nil {
		return nil, err
	}
	if first.GetWelcome() == nil {
		return nil, errors.New("the gateway is shutting down")
	}
	return first.GetWelcome(), nil
}

// read passes on each message, and returns the reason of the end.
func (s *stream) read(receive func(*pb.ClaimResponse)) error {
	silence := time.AfterFunc(3*s.interval, func() { s.cancel(errSilent) })
	defer silence.Stop()
	for {
		response, err := s.call.Recv()
		if cause := context.Cause(s.ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		silence.Reset(3 * s.interval)
		receive(response)
	}
}

func (s *stream) write() {
	for {
		select {
		case next := <-s.outgoing:
			before := s.writes.count.Load()
			if s.call.Send(next.message) != nil {
				// `read` has the reason.
				return
			}
			if next.sent != nil {
				s.writes.waitAfter(s.ctx, before)
				next.sent()
			}
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *stream) close() {
	s.cancel(errors.New("it is replaced"))
	s.conn.Close()
}

// fatal returns whether another try changes nothing.
func fatal(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition, codes.InvalidArgument, codes.Unimplemented:
		return true
	}
	return false
}

// writes counts the writes to a connection: the library does not tell when it has sent a message.
type writes struct {
	count   atomic.Int64
	changed chan struct{}
}

type countedConn struct {
	net.Conn
	writes *writes
}

func (c *countedConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	c.writes.count.Add(1)
	select {
	case c.writes.changed <- struct{}{}:
	default:
	}
	return n, err
}

func (w *writes) dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", address, err)
	}
	return &countedConn{conn, w}, nil
}

// waitAfter waits until the connection has written more often than before.
func (w *writes) waitAfter(ctx context.Context, before int64) {
	for w.count.Load() == before {
		select {
		case <-w.changed:
		case <-ctx.Done():
			return
		}
	}
}
