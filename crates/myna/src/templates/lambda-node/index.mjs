export const handler = async (event, context) => {
  console.log("called with", event);
  return {
    greeting: `Hello, ${event.name ?? "world"}!`,
    from: `Node ${process.versions.node}`,
    request: context.awsRequestId,
  };
};
